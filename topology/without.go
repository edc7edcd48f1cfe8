package topology

import (
	"reflect"
	"slices"
)

// Without returns the value, a map, as if it did not have these keys: for a map
// whose keys are read by two readers.
func (v *Value) Without(keys ...string) *Value {
	rest := *v
	rest.pairs = slices.DeleteFunc(slices.Clone(v.pairs), func(p Pair) bool { return slices.Contains(keys, p.Key.text) })
	return &rest
}

// keyNames returns the keys of a map, in order.
func (v *Value) keyNames() []string {
	names := make([]string, len(v.pairs))
	for i, p := range v.pairs {
		names[i] = p.Key.text
	}
	return names
}

// DecodePart is [Value.Decode] for a map that gives only what changes in the struct
// that target points to: no key has to be there.
func (v *Value) DecodePart(target any) {
	if !v.want(MapValue, "a map") {
		return
	}
	to := reflect.ValueOf(target).Elem()
	v.decodeKeys(to, keysOf(to))
}
