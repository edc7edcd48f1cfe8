package engine

import (
	"errors"
	"slices"

	"github.com/wslab/wslab/topology"
)

// AsEphemeral returns the engine that brings new labs up if it is one whose labs cost little.
func AsEphemeral(e Engine) (Ephemeral, bool) {
	if all, several := e.(Several); several {
		e = all[0]
	}
	one, ok := e.(Ephemeral)
	return one, ok
}

// AsClaimer returns the engine that brings new labs up if it is one whose labs are shared by all.
func AsClaimer(e Engine) (Claimer, bool) {
	if all, several := e.(Several); several {
		e = all[0]
	}
	one, ok := e.(Claimer)
	return one, ok
}

// For returns the engine that is to run the lab: e itself, or of [Several] the first
// that can, with the others behind it. The error says at which nodes none can, and why.
func For(e Engine, l *topology.Lab, progress Progress) (Engine, error) {
	all, several := e.(Several)
	if !several {
		return e, l.Refused(e.Name(), e.Refuse)
	}
	var refused topology.Problems
	for i, one := range all {
		err := l.Refused(one.Name(), one.Refuse)
		var problems topology.Problems
		switch {
		case errors.As(err, &problems):
			refused = append(refused, problems...)
			continue
		case err != nil:
			return nil, err
		}
		if i > 0 {
			progress.Say("engine %s: %s", one.Name(), refused[0].Message)
		}
		return append(Several{one}, slices.Delete(slices.Clone(all), i, i+1)...), nil
	}
	return nil, refused
}
