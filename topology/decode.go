package topology

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ValueDecoder is implemented by types that read themselves, because they have a
// short form. They report problems on the value.
type ValueDecoder interface{ DecodeValue(*Value) }

// Decode reads the value into what target points to, strictly: an unknown key, a
// value of the wrong type or out of its range is a problem. It goes on after a
// problem, so that all of a file are found at once. What the file does not give
// keeps its value, so defaults are set beforehand. See [Key] for the tags.
func (v *Value) Decode(target any) {
	p := reflect.ValueOf(target)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		panic(fmt.Sprintf("topology: Decode needs a pointer, not %T", target))
	}
	v.decode(p.Elem(), Key{})
}

func (v *Value) decode(to reflect.Value, key Key) {
	if to.CanAddr() {
		if d, ok := to.Addr().Interface().(ValueDecoder); ok {
			d.DecodeValue(v)
			return
		}
	}
	if v.broken {
		return
	}
	if to.Kind() == reflect.Pointer {
		if to.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
		}
		v.decode(to.Elem(), key)
		return
	}
	if to.Type() == durationType {
		v.decodeDuration(to, key)
		return
	}
	if t, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if !v.want(ScalarValue, describe(to.Type())) {
			return
		}
		if err := t.UnmarshalText([]byte(v.text)); err != nil {
			v.Problemf("", "%q is not %s", v.text, describe(to.Type()))
		}
		return
	}
	switch to.Kind() {
	case reflect.Struct:
		v.decodeStruct(to)
	case reflect.Map:
		v.decodeMap(to)
	case reflect.Slice:
		v.decodeSlice(to, key)
	case reflect.String:
		if v.want(ScalarValue, "text") && v.allowed(key) {
			to.SetString(v.text)
		}
	case reflect.Bool:
		v.decodeBool(to)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.decodeInt(to, key)
	case reflect.Float32, reflect.Float64:
		v.decodeFloat(to, key)
	case reflect.Interface:
		if x := v.Plain(); x != nil {
			to.Set(reflect.ValueOf(x))
		}
	default:
		panic(fmt.Sprintf("topology: no way to read a %s from a file", to.Type()))
	}
}

// describe names what a field takes.
func describe(t reflect.Type) string {
	switch t.String() {
	case "time.Duration":
		return "a duration, such as 30s, 1m30s or 250ms"
	case "netip.Prefix":
		return "a network, such as 10.20.0.0/24"
	case "netip.Addr":
		return "an address, such as 10.20.0.5"
	}
	if d, ok := reflect.New(t).Interface().(interface{ Describe() string }); ok {
		return d.Describe()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.Struct, reflect.Map:
		return "a map"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Int32:
		return "a whole number"
	case reflect.Float64, reflect.Float32:
		return "a number"
	case reflect.Interface:
		return "anything"
	}
	return "text"
}

// Plain returns the value as encoding/json would have read it, whole numbers as int.
func (v *Value) Plain() any {
	switch v.kind {
	case ListValue:
		list := make([]any, len(v.list))
		for i, item := range v.list {
			list[i] = item.Plain()
		}
		return list
	case MapValue:
		entries := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			entries[p.Key.text] = p.Value.Plain()
		}
		return entries
	case NullValue:
		return nil
	}
	if v.quoted {
		return v.text
	}
	if n, err := strconv.Atoi(v.text); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(v.text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	if b, err := strconv.ParseBool(v.text); err == nil && len(v.text) > 1 {
		return b
	}
	return v.text
}

// want reports a value of another kind than the one that is needed.
func (v *Value) want(kind ValueKind, what string) bool {
	if v.kind == kind {
		return true
	}
	v.Problemf("", "this has to be %s, not %s", what, v.kind) // says nothing of a broken value
	return false
}

func (v *Value) decodeStruct(to reflect.Value) {
	if v.kind == NullValue {
		v.checkRequired(keysOf(to))
		return
	}
	if !v.want(MapValue, "a map") {
		return
	}
	keys := keysOf(to)
	v.decodeKeys(to, keys)
	v.checkRequired(keys)
}

// decodeKeys reads the keys that the map has.
func (v *Value) decodeKeys(to reflect.Value, keys []Key) {
	for _, p := range v.pairs {
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == p.Key.text })
		if i < 0 {
			p.Key.Problemf(Suggest(p.Key.text, keyNames(keys)), "unknown key %q", p.Key.text)
			continue
		}
		if p.Value.kind == NullValue && !p.Value.broken {
			p.Key.Problemf("give it one, or leave the key out", "%q has no value", p.Key.text)
			continue
		}
		p.Value.decode(to.FieldByIndex(keys[i].index), keys[i])
	}
}

func (v *Value) checkRequired(keys []Key) {
	for _, k := range keys {
		if k.Required && v.Get(k.Name) == nil {
			v.label().Problemf(k.hint(), "the key %q is missing", k.Name)
		}
	}
}

func (v *Value) decodeMap(to reflect.Value) {
	if !v.want(MapValue, "a map") {
		return
	}
	if to.IsNil() {
		to.Set(reflect.MakeMap(to.Type()))
	}
	for _, p := range v.pairs {
		item := reflect.New(to.Type().Elem()).Elem()
		p.Value.decode(item, Key{})
		to.SetMapIndex(reflect.ValueOf(p.Key.text).Convert(to.Type().Key()), item)
	}
}

func (v *Value) decodeSlice(to reflect.Value, key Key) {
	items := v.list
	if v.kind == ScalarValue && to.Type().Elem().Kind() != reflect.Struct {
		items = []*Value{v} // a list of one may be written without brackets
	} else if !v.want(ListValue, "a list") {
		return
	}
	out := reflect.MakeSlice(to.Type(), len(items), len(items))
	for i, item := range items {
		item.decode(out.Index(i), key)
	}
	to.Set(out)
}

func (v *Value) decodeBool(to reflect.Value) {
	if !v.want(ScalarValue, "true or false") {
		return
	}
	switch {
	case v.text == "true" && !v.quoted:
		to.SetBool(true)
	case v.text == "false" && !v.quoted:
		to.SetBool(false)
	default:
		v.Problemf("", "%q is not true or false", v.text)
	}
}

func (v *Value) decodeInt(to reflect.Value, key Key) {
	if !v.want(ScalarValue, "a whole number") {
		return
	}
	n, err := strconv.ParseInt(v.text, 10, to.Type().Bits())
	if err != nil || v.quoted {
		v.Problemf("", "%q is not a whole number", v.text)
		return
	}
	if v.inRange(float64(n), key, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }) {
		to.SetInt(n)
	}
}

func (v *Value) decodeFloat(to reflect.Value, key Key) {
	if !v.want(ScalarValue, "a number") {
		return
	}
	n, err := strconv.ParseFloat(v.text, 64)
	if err != nil || v.quoted || math.IsNaN(n) || math.IsInf(n, 0) {
		v.Problemf("", "%q is not a number", v.text)
		return
	}
	if v.inRange(n, key, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }) {
		to.SetFloat(n)
	}
}

func (v *Value) decodeDuration(to reflect.Value, key Key) {
	if !v.want(ScalarValue, describe(durationType)) {
		return
	}
	d, err := time.ParseDuration(v.text)
	if err != nil {
		hint := "write a number and a unit: 250ms, 30s, 1m30s, 2h"
		if _, numeric := strconv.ParseFloat(v.text, 64); numeric == nil {
			hint = fmt.Sprintf("did you mean %ss?", v.text)
		}
		v.Problemf(hint, "%q is not a duration", v.text)
		return
	}
	if d < 0 {
		v.Problemf("", "%s is negative", v.text)
		return
	}
	ok := v.inRange(float64(d), key, func(s string) (float64, error) {
		limit, err := time.ParseDuration(s)
		return float64(limit), err
	})
	if ok {
		to.SetInt(int64(d))
	}
}

// inRange reports a value outside of its key's min and max.
func (v *Value) inRange(n float64, key Key, parse func(string) (float64, error)) bool {
	limit := func(text string) (float64, bool) {
		if text == "" {
			return 0, false
		}
		f, err := parse(text)
		if err != nil {
			panic(fmt.Sprintf("topology: tag of key %q: %v", key.Name, err))
		}
		return f, true
	}
	if least, ok := limit(key.Min); ok && n < least {
		v.Problemf("", "%s is too little: %s is at least %s", v.text, key.Name, key.Min)
		return false
	}
	if most, ok := limit(key.Max); ok && n > most {
		v.Problemf("", "%s is too much: %s is at most %s", v.text, key.Name, key.Max)
		return false
	}
	return true
}

// allowed reports a text that is not one of its key's values.
func (v *Value) allowed(key Key) bool {
	if len(key.Enum) == 0 || slices.Contains(key.Enum, v.text) {
		return true
	}
	hint := "it can be: " + strings.Join(key.Enum, ", ")
	if near, ok := nearest(v.text, key.Enum); ok {
		hint = didYouMean(near)
	}
	v.Problemf(hint, "%q is no value of %q", v.text, key.Name)
	return false
}
