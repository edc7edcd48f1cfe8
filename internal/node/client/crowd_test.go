package client

import (
	"strings"
	"testing"

	"github.com/wslab/wslab/internal/trace"
)

// TestCrowd has a crowd come and go.
func TestCrowd(t *testing.T) {
	l := newLab(t, 1, direct)
	k := crowd{ID: "crowd", Connections: 20}
	var result gathered
	l.call("crowd.open", k, &result)
	if result.Open != 20 {
		t.Errorf("%d of 20 are open", result.Open)
	}
	for _, id := range k.ids() {
		l.await(id, trace.Accepted)
	}
	l.call("crowd.close", k, nil)
	for _, id := range k.ids() {
		l.await(id, trace.ServerClosed)
	}
	l.call("crowd.close", k, nil) // nobody is left
	l.call("crowd.open", k, nil)  // the same may come again
}

// TestCrowdRefused has nobody let in: that is no error, but an answer.
func TestCrowdRefused(t *testing.T) {
	l := newLab(t, 1, direct)
	l.name("server:443", closedPort(t))
	var result gathered
	l.call("crowd.open", crowd{ID: "crowd", Connections: 3}, &result)
	if result.Open != 0 {
		t.Errorf("%d are open", result.Open)
	}
	for _, k := range []crowd{{Connections: 1}, {ID: "crowd"}, {ID: "crowd", Connections: crowdMost + 1}} {
		for _, method := range []string{"crowd.open", "crowd.close"} {
			if err := l.client.Call(t.Context(), method, k, nil); err == nil || !strings.Contains(err.Error(), "crowd") {
				t.Errorf("%s %+v: %v", method, k, err)
			}
		}
	}
}
