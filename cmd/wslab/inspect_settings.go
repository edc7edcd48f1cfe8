package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// settingsText shows the settings of a node that are not the kind's defaults, as a lab file would
// have them. What a kind makes of its file for itself (a client its ways) is shown as it is.
func settingsText(n topology.NodeSpec) string {
	var given map[string]json.RawMessage
	i := slices.IndexFunc(registry().Kinds, func(k *topology.Kind) bool { return k.Name == n.Kind })
	if i < 0 || json.Unmarshal(n.Settings, &given) != nil {
		return string(n.Settings)
	}
	kind := registry().Kinds[i]
	now := kind.Settings()
	if json.Unmarshal(n.Settings, now) != nil {
		return string(n.Settings)
	}
	parts := changed(reflect.ValueOf(now), reflect.ValueOf(kind.Settings()))
	for _, k := range topology.Keys(now) {
		delete(given, k.Name)
	}
	for _, name := range sortedNames(given) {
		parts = append(parts, name+": "+string(given[name]))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// changed are the keys whose values differ.
func changed(now, before reflect.Value) []string {
	var parts []string
	defaults := topology.Keys(before.Interface())
	for i, k := range topology.Keys(now.Interface()) {
		a, b := reflect.ValueOf(k.Value), reflect.ValueOf(defaults[i].Value)
		if !reflect.DeepEqual(k.Value, defaults[i].Value) && !(isEmpty(a) && isEmpty(b)) {
			parts = append(parts, k.Name+": "+flow(a))
		}
	}
	return parts
}

// isEmpty says whether a value is zero, or a list or map without entries.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}

// flow is a value in one line of YAML.
func flow(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return durationText(d)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return flow(v.Elem())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = flow(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var items []string
		for _, key := range v.MapKeys() {
			items = append(items, fmt.Sprintf("%v: %s", key, flow(v.MapIndex(key))))
		}
		slices.Sort(items)
		return "{ " + strings.Join(items, ", ") + " }"
	case reflect.Struct:
		return "{ " + strings.Join(changed(v, reflect.Zero(v.Type())), ", ") + " }"
	}
	return fmt.Sprint(v.Interface())
}

// durationText is a duration as a person writes it: 1m, not 1m0s.
func durationText(d time.Duration) string {
	text := d.String()
	for _, zero := range []struct{ behind, cut string }{{"m0s", "0s"}, {"h0m", "0m"}} {
		if strings.HasSuffix(text, zero.behind) {
			text = strings.TrimSuffix(text, zero.cut)
		}
	}
	return text
}

func sortedNames(m map[string]json.RawMessage) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
