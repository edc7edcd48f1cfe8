package link

import "time"

// Lost says which of the first packets of a place get lost by chance.
func (l *Links) Lost(of Place, c Conditions, packets int) []bool {
	s := newShaper(c, l.seed(&place{Place: of, c: c}))
	lost := make([]bool, packets)
	for i := range lost {
		lost[i] = s.offer(time.Unix(0, 0), 30).Lost
	}
	return lost
}

// Twice says which of the first packets of a place arrive twice.
func (l *Links) Twice(of Place, c Conditions, packets int) []bool {
	s := newShaper(c, l.seed(&place{Place: of, c: c}))
	twice := make([]bool, packets)
	for i := range twice {
		twice[i] = s.offer(time.Unix(0, 0), 30).Copies > 1
	}
	return twice
}

// Interface is the name of the first one.
func (l *Links) Interface() string { return l.ends[0].ifname }
