// Package strategies shows the built-in strategies: their settings as a file would have them,
// the page about them, and how they compare in a run.
package strategies

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// Setting is one key of a strategy with its value.
type Setting struct {
	Key string
	// Value is a text, a number, a bool, a list of texts, or [Settings].
	Value any
}

// Settings are the keys of a strategy that are set, in the order in which they are
// documented.
type Settings []Setting

// SettingsOf returns the settings of a strategy but for its summary.
func SettingsOf(s strategy.Strategy) Settings {
	s.Summary = ""
	return settingsOf(s)
}

func settingsOf(v any) Settings {
	var all Settings
	for _, k := range topology.Keys(v) {
		value := reflect.ValueOf(k.Value)
		if value.IsZero() {
			continue
		}
		all = append(all, Setting{k.Name, plain(value)})
	}
	return all
}

// plain is a value as a file would have it.
func plain(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return duration(d)
	}
	switch v.Kind() {
	case reflect.Struct:
		return settingsOf(v.Interface())
	case reflect.Slice:
		list := make([]string, v.Len())
		for i := range list {
			list[i] = fmt.Sprint(plain(v.Index(i)))
		}
		return list
	}
	return v.Interface()
}

// duration is a duration as a person writes it: 1m, not 1m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// String is the settings in one line of YAML.
func (s Settings) String() string {
	parts := make([]string, len(s))
	for i, one := range s {
		parts[i] = one.String()
	}
	return strings.Join(parts, ", ")
}

// String is the setting in one line of YAML.
func (s Setting) String() string {
	switch v := s.Value.(type) {
	case Settings:
		if len(v) == 0 {
			return s.Key + ": {}"
		}
		return s.Key + ": { " + v.String() + " }"
	case []string:
		return s.Key + ": [" + strings.Join(v, ", ") + "]"
	}
	return fmt.Sprintf("%s: %v", s.Key, s.Value)
}

// MarshalJSON encodes the settings as one object.
func (s Settings) MarshalJSON() ([]byte, error) {
	object := make(map[string]any, len(s))
	for _, one := range s {
		object[one.Key] = one.Value
	}
	return json.Marshal(object)
}
