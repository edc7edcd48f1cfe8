//go:build linux

package wslabtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/wslabtest"
)

// pinger is the client under test: it keeps its connection awake with a ping every second, if it is
// told to. A package of yours would have its own.
func pinger(lab *wslabtest.Lab, every time.Duration) wslabtest.Client {
	return func(ctx context.Context, url string) error {
		conn, _, err := lab.Dialer().DialContext(ctx, url, nil)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		ended := make(chan error, 1)
		go func() {
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					ended <- err
					return
				}
			}
		}()
		ping := time.NewTicker(every)
		defer ping.Stop()
		for {
			select {
			case <-ping.C:
				_ = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) // a failed one ends the reading
			case err := <-ended:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// At ten times the speed the NAT of the home lab forgets a connection after three seconds of silence.
func TestQuietNAT(t *testing.T) {
	t.Parallel()
	lab := wslabtest.Up(t, "../labs/home.yaml", wslabtest.Speed(10))

	lab.Judge(pinger(lab, time.Second), "talk: 5s", "quiet: 45s", "talk: 10s").Want(t, scenarios.Survived)

	quiet := lab.Judge(pinger(lab, time.Hour), "nat-idle")
	quiet.Want(t, scenarios.Failed)
	t.Log(quiet)
}

// A scenario with the strategies that it is about.
func TestReset(t *testing.T) {
	t.Parallel()
	wslabtest.Up(t, "home", wslabtest.Speed(4)).Play("reset")
}
