package node

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// mergeSettings lays partial settings over those that a node has, as a JSON merge
// patch (RFC 7396), and checks that the result is what the kind understands.
func mergeSettings(kind *Kind, settings, patch json.RawMessage) (json.RawMessage, error) {
	var has, change any
	if err := json.Unmarshal(settings, &has); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if err := json.Unmarshal(patch, &change); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if _, ok := change.(map[string]any); !ok {
		return nil, fmt.Errorf("settings: %s is no object", patch)
	}
	merged, err := json.Marshal(mergePatch(has, change))
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	strict := json.NewDecoder(bytes.NewReader(merged))
	strict.DisallowUnknownFields()
	if err := strict.Decode(kind.Settings()); err != nil {
		return nil, fmt.Errorf("settings of kind %s: %w", kind.Name, err)
	}
	return merged, nil
}

// mergePatch is MergePatch of RFC 7396, section 2.
func mergePatch(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = make(map[string]any)
	}
	for name, value := range change {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = mergePatch(object[name], value)
		}
	}
	return object
}
