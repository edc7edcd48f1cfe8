package trace

import (
	"fmt"
	"strings"
	"time"
)

// String returns the event as one line for a person: the clock time, the node,
// the type, and what else is known.
func (e Event) String() string {
	var b strings.Builder
	clock := "            "
	if !e.Time.IsZero() {
		clock = e.Time.Format("15:04:05.000")
	}
	fmt.Fprintf(&b, "%s %-12s %-20s", clock, e.Node, e.Type)
	part := func(set bool, format string, args ...any) {
		if set {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	part(e.Session != "", "session=%s", e.Session)
	part(e.Conn != 0, "conn=%d", e.Conn)
	part(e.Attempt != 0, "attempt=%d", e.Attempt)
	part(e.Seq != 0, "seq=%d", e.Seq)
	part(e.Count != 0, "count=%d", e.Count)
	part(e.Flow != nil, "flow=%q", e.Flow)
	part(e.Next != nil, "next=%q", e.Next)
	part(e.Dur != 0, "dur=%s", e.Dur.Round(time.Millisecond))
	part(e.Stage != "", "stage=%s", e.Stage)
	part(e.Status != 0, "status=%d", e.Status)
	part(e.Code != 0, "code=%d", e.Code)
	part(e.Network != "", "network=%s", e.Network)
	part(e.By != "", "by=%s", e.By)
	part(e.Detail != "", "%s", e.Detail)
	part(e.Err != "", "error=%q", e.Err)
	return strings.TrimRight(b.String(), " ")
}
