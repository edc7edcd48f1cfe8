package scenarios

import (
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// Expectation is what a scenario expects of one client.
type Expectation struct {
	// Client is the name of the strategy.
	Client string
	// Verdicts that pass.
	Verdicts Expected
	// Lost and Duplicated are the most messages that may be lost or come twice,
	// Outage the longest time without a connection; nil is no limit.
	Lost, Duplicated *int
	Outage           *time.Duration
	// Cause is a text that the cause has to hold (in English); empty is any.
	Cause string
}

// limits are the keys of the long form.
type limits struct {
	Verdict    *topology.Value `json:"verdict" doc:"survived, recovered or failed, or a list of those that pass." required:"true"`
	Lost       *int            `json:"lost" doc:"The most numbered messages, both ways together, that may be lost." min:"0"`
	Duplicated *int            `json:"duplicated" doc:"The most numbered messages that may arrive twice." min:"0"`
	Outage     *time.Duration  `json:"outage" doc:"The longest time without a connection."`
	Cause      string          `json:"cause" doc:"A text that the cause has to hold."`
}

// decodeExpectation reads a verdict, a list of verdicts, or the long form.
func decodeExpectation(client string, v *topology.Value) Expectation {
	e := Expectation{Client: client}
	if v.Kind() != topology.MapValue {
		e.Verdicts = decodeVerdicts(v)
		return e
	}
	var l limits
	v.Decode(&l)
	e.Lost, e.Duplicated, e.Outage, e.Cause = l.Lost, l.Duplicated, l.Outage, l.Cause
	if l.Verdict != nil {
		e.Verdicts = decodeVerdicts(l.Verdict)
	}
	return e
}

func decodeVerdicts(v *topology.Value) Expected {
	items := v.List()
	switch v.Kind() {
	case topology.ScalarValue:
		items = []*topology.Value{v}
	case topology.ListValue:
	default:
		v.Problemf("write one of: "+strings.Join(verdictNames(), ", "), "this has to be a verdict, not %s", v.Kind())
	}
	var out Expected
	for _, item := range items {
		verdict := Verdict(item.Text())
		switch {
		case item.Kind() != topology.ScalarValue || !slices.Contains(verdicts(), verdict):
			item.Problemf(topology.Suggest(item.Text(), verdictNames()), "%q is no verdict", item.Text())
		case slices.Contains(out, verdict):
			item.Problemf("", "%s stands here a second time", verdict)
		default:
			out = append(out, verdict)
		}
	}
	if v.Kind() == topology.ListValue && len(items) == 0 {
		v.Problemf("write one of: "+strings.Join(verdictNames(), ", "), "a client needs a verdict")
	}
	return out
}

// override returns the expectations with those of the same client replaced, and
// new ones added at the end.
func override(base, with []Expectation) []Expectation {
	out := slices.Clone(base)
	for _, e := range with {
		if i := slices.IndexFunc(out, func(b Expectation) bool { return b.Client == e.Client }); i >= 0 {
			out[i] = e
		} else {
			out = append(out, e)
		}
	}
	return out
}
