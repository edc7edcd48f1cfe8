package scenarios

import (
	"slices"

	"github.com/wslab/wslab/topology"
)

// Family is scenarios that are about the same thing.
type Family struct {
	// Name as in a file, Title for people.
	Name, Title string
}

// Families returns the families in the order in which they are shown. Their names are the
// values that the key family of a scenario file takes.
func Families() []Family {
	titles := map[string]string{
		"nat":           "NATs",
		"firewall":      "Firewalls",
		"proxy":         "Proxies",
		"load-balancer": "Load balancers",
		"server":        "Servers",
		"link":          "Links and lines",
		"client":        "The client itself",
		"security":      "Security",
	}
	var all []Family
	for _, k := range topology.Keys(scenarioKeys{}) {
		if k.Name == "family" {
			for _, name := range k.Enum {
				all = append(all, Family{name, titles[name]})
			}
		}
	}
	return all
}

// OfFamily returns the scenarios of a family, those of none for "".
func OfFamily(all []*Scenario, name string) []*Scenario {
	return slices.DeleteFunc(slices.Clone(all), func(s *Scenario) bool { return s.Family != name })
}
