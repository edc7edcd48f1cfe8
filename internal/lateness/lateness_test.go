package lateness

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestMeter: on a machine with nothing else to do nobody is late, and what was taken is not told again.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m := Start(ctx, 20*time.Millisecond)
		time.Sleep(time.Second)
		if late := m.Take(); late != 0 {
			t.Errorf("late by %s", late)
		}
		m.record(30 * time.Millisecond)
		m.record(10 * time.Millisecond)
		if late := m.Take(); late != 30*time.Millisecond {
			t.Errorf("the worst is %s", late)
		}
		if late := m.Take(); late != 0 {
			t.Errorf("told again: %s", late)
		}
	})
}
