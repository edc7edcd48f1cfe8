package scenarios

import (
	"encoding/json"
	"hash/fnv"
)

// seedOf is the seed of a session's strategy: the scenario's, mixed with its name, so that
// two strategies do not wait the same times.
func (p *player) seedOf(strategy string) uint64 {
	if p.play.Scenario.Seed == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(strategy)) // never fails
	return uint64(p.play.Scenario.Seed) ^ h.Sum64()
}

// seeded returns settings with the scenario's seed, where they have the key and no seed of
// their own. takes says that a seed that is not there is one that is left out.
func (p *player) seeded(settings json.RawMessage, takes bool) json.RawMessage {
	seed := p.play.Scenario.Seed
	var keys map[string]json.RawMessage
	if seed == 0 || len(settings) == 0 || json.Unmarshal(settings, &keys) != nil {
		return settings
	}
	own, there := keys["seed"]
	if !there && !takes || there && string(own) != "0" {
		return settings
	}
	keys["seed"] = mustJSON(seed)
	return mustJSON(keys)
}
