package toxiproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/topology"
)

// toxic is a toxic as the API has it.
type toxic struct {
	Attributes map[string]any `json:"attributes"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float64        `json:"toxicity"`
}

// toxics lists the toxics of a proxy, upstream first as Toxiproxy does, and says whether it is
// enabled.
func (a *api) toxics(ctx context.Context, proxy string) (list []toxic, enabled bool, err error) {
	var specs []topology.ToxicSpec
	if err := a.lab.Call(ctx, proxy, "toxic.list", struct{}{}, &specs); err != nil {
		return nil, false, err
	}
	list, enabled = []toxic{}, true
	for _, stream := range []string{"upstream", "downstream"} {
		for _, s := range specs {
			switch {
			case s.Stream != stream:
			case s.Name == disabled:
				enabled = false
			default:
				t, err := a.fromSpec(s)
				if err != nil {
					return nil, false, err
				}
				list = append(list, t)
			}
		}
	}
	return list, enabled, nil
}

// unit is the time that a number stands for in an attribute.
func unit(typ, key string) time.Duration {
	if typ == "slicer" && key == "delay" {
		return time.Microsecond
	}
	return time.Millisecond
}

// durations names the attributes of a type that are times.
func (a *api) durations(typ string) map[string]time.Duration {
	units := make(map[string]time.Duration)
	for _, t := range a.types {
		if t.Name != typ {
			continue
		}
		for _, k := range topology.Keys(t.Attributes()) {
			if _, ok := k.Value.(time.Duration); ok {
				units[k.Name] = unit(typ, k.Name)
			}
		}
	}
	return units
}

// lists names the attributes of a type that are lists of words.
func (a *api) lists(typ string) map[string]bool {
	lists := make(map[string]bool)
	for _, t := range a.types {
		if t.Name != typ {
			continue
		}
		for _, k := range topology.Keys(t.Attributes()) {
			if _, ok := k.Value.([]string); ok {
				lists[k.Name] = true
			}
		}
	}
	return lists
}

// fromSpec shows a toxic of a node as the API has it.
func (a *api) fromSpec(s topology.ToxicSpec) (toxic, error) {
	t := toxic{Name: s.Name, Type: s.Type, Stream: s.Stream, Toxicity: s.Toxicity, Attributes: make(map[string]any)}
	decoder := json.NewDecoder(bytes.NewReader(s.Attributes))
	decoder.UseNumber()
	if err := decoder.Decode(&t.Attributes); err != nil {
		return t, err
	}
	for key, unit := range a.durations(s.Type) {
		number, ok := t.Attributes[key].(json.Number)
		if !ok {
			continue
		}
		ns, err := number.Int64()
		if err != nil {
			return t, err
		}
		if ns%int64(unit) == 0 {
			t.Attributes[key] = ns / int64(unit)
		} else {
			t.Attributes[key] = float64(ns) / float64(unit)
		}
	}
	return t, nil
}

// change is a toxic as a client sends it. What it does not name stays as it is.
type change struct {
	Name       string                     `json:"name"`
	Type       string                     `json:"type"`
	Stream     string                     `json:"stream"`
	Toxicity   *float64                   `json:"toxicity"`
	Attributes map[string]json.RawMessage `json:"attributes"`
}

// apply makes a toxic what a client has sent.
func (a *api) apply(s *topology.ToxicSpec, c change) error {
	if c.Toxicity != nil {
		s.Toxicity = *c.Toxicity
	}
	merged := make(map[string]json.RawMessage)
	if len(s.Attributes) > 0 {
		if err := json.Unmarshal(s.Attributes, &merged); err != nil {
			return err
		}
	}
	units, lists := a.durations(s.Type), a.lists(s.Type)
	for key, raw := range c.Attributes {
		var words string
		if lists[key] && json.Unmarshal(raw, &words) == nil { // toxiproxy-cli has no lists
			list, err := json.Marshal(strings.Split(words, ","))
			if err != nil {
				return err
			}
			merged[key] = list
			continue
		}
		unit, isTime := units[key]
		if !isTime {
			merged[key] = raw
			continue
		}
		var n float64
		if err := json.Unmarshal(raw, &n); err != nil {
			return errorf(http.StatusBadRequest, "bad request body: %s is %s, not a number of %s", key, raw, unitName(unit))
		}
		if ns := n * float64(unit); math.Abs(ns) > math.MaxInt64/2 {
			return errorf(http.StatusBadRequest, "bad request body: %s is too large", key)
		}
		raw, err := json.Marshal(time.Duration(n * float64(unit)))
		if err != nil {
			return err
		}
		merged[key] = raw
	}
	raw, err := json.Marshal(merged)
	s.Attributes = raw
	return err
}

func unitName(unit time.Duration) string {
	if unit == time.Microsecond {
		return "microseconds"
	}
	return "milliseconds"
}

func (a *api) toxicIndex(r *http.Request) (int, any, error) {
	p, err := a.proxy(r.PathValue("proxy"))
	if err != nil {
		return 0, nil, err
	}
	list, _, err := a.toxics(r.Context(), p.Name)
	return http.StatusOK, list, err
}

// find returns the proxy and the toxic that a request names.
func (a *api) find(r *http.Request) (Proxy, topology.ToxicSpec, error) {
	var none topology.ToxicSpec
	p, err := a.proxy(r.PathValue("proxy"))
	if err != nil {
		return p, none, err
	}
	var list []topology.ToxicSpec
	if err := a.lab.Call(r.Context(), p.Name, "toxic.list", struct{}{}, &list); err != nil {
		return p, none, err
	}
	i := slices.IndexFunc(list, func(t topology.ToxicSpec) bool { return t.Name == r.PathValue("toxic") && t.Name != disabled })
	if i < 0 {
		return p, none, errorf(http.StatusNotFound, "toxic not found")
	}
	return p, list[i], nil
}

func (a *api) toxicShow(r *http.Request) (int, any, error) {
	_, spec, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	t, err := a.fromSpec(spec)
	return http.StatusOK, t, err
}

func (a *api) toxicCreate(r *http.Request) (int, any, error) {
	p, err := a.proxy(r.PathValue("proxy"))
	if err != nil {
		return 0, nil, err
	}
	var c change
	if err := decode(r, &c); err != nil {
		return 0, nil, err
	}
	spec := topology.ToxicSpec{Name: c.Name, Type: c.Type, Stream: strings.ToLower(c.Stream), Toxicity: 1}
	switch {
	case !slices.ContainsFunc(a.types, func(t *topology.ToxicType) bool { return t.Name == c.Type }):
		return 0, nil, errorf(http.StatusBadRequest, "invalid toxic type")
	case !slices.Contains([]string{"", "upstream", "downstream"}, spec.Stream):
		return 0, nil, errorf(http.StatusBadRequest, "stream was invalid, can be either upstream or downstream")
	case spec.Name == disabled:
		return 0, nil, errorf(http.StatusBadRequest, "the name %s is wslab's own", disabled)
	}
	if err := a.apply(&spec, c); err != nil {
		return 0, nil, err
	}
	return a.set(r.Context(), p, "toxic.add", spec)
}

func (a *api) toxicUpdate(r *http.Request) (int, any, error) {
	p, spec, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	var c change
	if err := decode(r, &c); err != nil {
		return 0, nil, err
	}
	if err := a.apply(&spec, c); err != nil {
		return 0, nil, err
	}
	return a.set(r.Context(), p, "toxic.update", spec)
}

// set adds or updates a toxic and answers with what it is then.
func (a *api) set(ctx context.Context, p Proxy, method string, spec topology.ToxicSpec) (int, any, error) {
	err := a.lab.Call(ctx, p.Name, method, spec, &spec)
	var refused *control.RemoteError
	switch {
	case errors.As(err, &refused) && strings.Contains(refused.Message, "there is a toxic of that name already"):
		return 0, nil, errorf(http.StatusConflict, "toxic already exists")
	case errors.As(err, &refused):
		return 0, nil, errorf(http.StatusBadRequest, "bad request body: %s", refused.Message)
	case err != nil:
		return 0, nil, err
	}
	t, err := a.fromSpec(spec)
	return http.StatusOK, t, err
}

func (a *api) toxicDelete(r *http.Request) (int, any, error) {
	p, spec, err := a.find(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.lab.Call(r.Context(), p.Name, "toxic.remove", map[string]string{"name": spec.Name}, nil)
}
