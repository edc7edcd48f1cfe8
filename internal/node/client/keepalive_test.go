package client

import (
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

// The server of the lab does what a strategy wants of its server.
func TestServerKeepsTheConnectionAlive(t *testing.T) {
	for _, means := range []string{strategy.MeansPing, strategy.MeansHeartbeat} {
		t.Run(means, func(t *testing.T) {
			l := newLab(t, 1, direct)
			l.start("a", strategy.Strategy{Keepalive: strategy.Keepalive{
				Server: &strategy.Server{Means: means, Interval: 5 * time.Millisecond, Timeout: time.Minute},
				Watch:  &strategy.Watch{Timeout: time.Minute, Heed: strategy.HeedKeepalive},
			}}, "")
			e := l.await("a", trace.KeepaliveReceived)
			if e.Detail != means || e.Count == 0 || e.Conn != 1 {
				t.Errorf("received %+v", e)
			}
			// It was answered: else there would be no second one.
			l.awaitMatch("a", "a second one", func(second trace.Event) bool {
				return second.Type == trace.KeepaliveReceived && second.Time.After(e.Time)
			})
		})
	}
}

func TestWatchGivesUpASilentServer(t *testing.T) {
	l := newLab(t, 1, direct)
	l.start("a", strategy.Strategy{
		Keepalive: strategy.Keepalive{Watch: &strategy.Watch{Timeout: 5 * time.Millisecond}},
		Reconnect: &strategy.Reconnect{First: []time.Duration{0}, Tries: -1},
	}, "")
	e := l.await("a", trace.KeepaliveTimeout)
	if e.Detail != strategy.MeansSilence || e.Dur != 5*time.Millisecond {
		t.Errorf("timeout %+v", e)
	}
	if e := l.await("a", trace.Close); e.By != "strategy" {
		t.Errorf("closed %+v", e)
	}
	l.awaitMatch("a", "a second connection", func(e trace.Event) bool { return e.Type == trace.Open && e.Conn == 2 })
}
