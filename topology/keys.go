package topology

import (
	"reflect"
	"strings"
	"time"
)

// Key is a key of a struct that files are read into, as its tags describe it:
//
//	json:"idle_timeout"   the key's name
//	doc:"..."             one sentence
//	enum:"drop,reset"     the values allowed
//	min:"1s" max:"1h"     the range allowed, of numbers and durations
//	required:"true"       the key has to be there
//	clock:"kernel"        a duration that the kernel keeps in whole seconds
//	yaml:"-"              not read from files
type Key struct {
	Name, Doc string
	Enum      []string
	Min, Max  string
	Required  bool
	// Kernel says that the duration has the kernel's resolution of one second.
	Kernel bool
	// Type of the field, Value what it holds.
	Type  reflect.Type
	Value any

	index []int
}

// Keys returns the keys of a struct, or of the one that v points to, in order.
func Keys(v any) []Key {
	value := reflect.ValueOf(v)
	for value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct {
		return nil
	}
	return keysOf(value)
}

func keysOf(value reflect.Value) []Key {
	var keys []Key
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct {
			for _, k := range keysOf(value.Field(i)) {
				k.index = append([]int{i}, k.index...)
				keys = append(keys, k)
			}
			continue
		}
		if name == "" || name == "-" || field.Tag.Get("yaml") == "-" || !field.IsExported() {
			continue
		}
		k := Key{
			Name: name, Doc: field.Tag.Get("doc"),
			Min: field.Tag.Get("min"), Max: field.Tag.Get("max"),
			Required: field.Tag.Get("required") == "true",
			Kernel:   field.Tag.Get("clock") == "kernel",
			Type:     field.Type, Value: value.Field(i).Interface(),
			index: []int{i},
		}
		if enum := field.Tag.Get("enum"); enum != "" {
			k.Enum = strings.Split(enum, ",")
		}
		keys = append(keys, k)
	}
	return keys
}

// hint says what the key is for and what it can be.
func (k Key) hint() string {
	hint := strings.TrimSuffix(k.Name+": "+k.Doc, ": ")
	if len(k.Enum) > 0 {
		hint += " It can be: " + strings.Join(k.Enum, ", ")
	}
	return hint
}

// keyNames returns the names of the keys.
func keyNames(keys []Key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	return names
}

var durationType = reflect.TypeFor[time.Duration]()

// limits says in words what min and max allow; "" when they are not there.
func (k Key) limits() string {
	switch {
	case k.Min == "" && k.Max == "":
		return ""
	case k.Max == "":
		return "at least " + k.Min
	case k.Min == "":
		return "at most " + k.Max
	}
	return k.Min + " to " + k.Max
}
