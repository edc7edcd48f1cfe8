package link

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

// offerAll offers packets in regular intervals.
func offerAll(s *shaper, packets, size int, every time.Duration) []Fate {
	fates := make([]Fate, packets)
	for i := range fates {
		fates[i] = s.offer(start.Add(time.Duration(i)*every), size)
	}
	return fates
}

func share(fates []Fate, is func(Fate) bool) float64 {
	n := 0
	for _, f := range fates {
		if is(f) {
			n++
		}
	}
	return 100 * float64(n) / float64(len(fates))
}

// Over 10,000 packets, loss and duplicates come out within a tenth of what was asked.
func TestShares(t *testing.T) {
	for seed := range uint64(20) {
		fates := offerAll(newShaper(Conditions{Loss: 5, Duplicate: 10, Delay: time.Second, Reorder: 20}, seed), 10_000, 100, time.Millisecond)
		for _, c := range []struct {
			what       string
			got, asked float64
		}{
			{"lost", share(fates, func(f Fate) bool { return f.Lost }), 5},
			{"twice", share(fates, func(f Fate) bool { return f.Copies == 2 }), 9.5}, // of those not lost
		} {
			if math.Abs(c.got-c.asked) > 0.1*c.asked+0.3 {
				t.Errorf("seed %d: %.2f%% %s, asked for %g%%", seed, c.got, c.what, c.asked)
			}
		}
	}
}

func TestDelayJitterAndOrder(t *testing.T) {
	fates := offerAll(newShaper(Conditions{Delay: 100 * time.Millisecond, Jitter: 20 * time.Millisecond}, 1), 1000, 100, 50*time.Millisecond)
	var delays []time.Duration
	for i, f := range fates {
		delays = append(delays, f.Due.Sub(start.Add(time.Duration(i)*50*time.Millisecond)))
	}
	if least, most := slices.Min(delays), slices.Max(delays); least < 80*time.Millisecond || most > 120*time.Millisecond || most-least < 35*time.Millisecond {
		t.Errorf("delays from %s to %s", least, most)
	}
	slices.Sort(delays)
	if median := delays[500]; median < 98*time.Millisecond || median > 102*time.Millisecond {
		t.Errorf("median %s", median)
	}
	close := offerAll(newShaper(Conditions{Delay: 100 * time.Millisecond, Jitter: 90 * time.Millisecond}, 1), 1000, 100, time.Millisecond)
	for i := 1; i < len(close); i++ {
		if close[i].Due.Before(close[i-1].Due) {
			t.Fatalf("packet %d overtook", i)
		}
	}
}

func TestReorderedPacketsAreNotDelayed(t *testing.T) {
	fates := offerAll(newShaper(Conditions{Delay: 100 * time.Millisecond, Reorder: 25}, 3), 10_000, 100, time.Millisecond)
	early := 0
	for i, f := range fates {
		if f.Due.Equal(start.Add(time.Duration(i) * time.Millisecond)) {
			early++
		}
	}
	if early < 2250 || early > 2750 {
		t.Errorf("%d of 10000 were early, asked for 25%%", early)
	}
}

// A rate holds over a long run, and what does not fit is lost.
func TestRate(t *testing.T) {
	s := newShaper(Conditions{Rate: 8_000_000}, 1) // a megabyte a second
	fates := offerAll(s, 10_000, 1000, 500*time.Microsecond)
	var bytes int
	var last time.Time
	for _, f := range fates {
		if !f.Lost {
			bytes += 1000
			last = f.Due
		}
	}
	if rate := float64(bytes) / last.Sub(start).Seconds(); rate < 0.97e6 || rate > 1.03e6 {
		t.Errorf("%.0f bytes a second", rate)
	}
	if full := share(fates, func(f Fate) bool { return f.Full }); full < 40 || full > 55 {
		t.Errorf("%.1f%% did not fit, offered twice the rate", full)
	}
	slow := newShaper(Conditions{Rate: 8_000}, 1)
	if burst := offerAll(slow, queueLeast, 1000, 0); share(burst, func(f Fate) bool { return f.Lost }) != 0 {
		t.Error("a slow link lost a small burst")
	}
}

func TestSameSeedSameFates(t *testing.T) {
	c := Conditions{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 10, Duplicate: 5, Reorder: 5}
	one, two := offerAll(newShaper(c, 7), 1000, 100, time.Millisecond), offerAll(newShaper(c, 7), 1000, 100, time.Millisecond)
	if !slices.Equal(one, two) {
		t.Error("two runs with one seed differ")
	}
	if other := offerAll(newShaper(c, 8), 1000, 100, time.Millisecond); slices.Equal(one, other) {
		t.Error("another seed gives the same")
	}
	// Loss by packet does not depend on the other figures.
	lossOnly := offerAll(newShaper(Conditions{Loss: 10}, 7), 1000, 100, 3*time.Millisecond)
	for i := range one {
		if one[i].Lost != lossOnly[i].Lost {
			t.Fatalf("packet %d: lost %v, alone %v", i, one[i].Lost, lossOnly[i].Lost)
		}
	}
}

func TestFiguresAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]Rate{"300kbit": 300_000, "2mbit": 2_000_000, "1.5Mbit": 1_500_000, "1gbit": 1e9, "100bit": 100} {
		r, err := ParseRate(text)
		if err != nil || r != want {
			t.Errorf("%s: %d, %v", text, r, err)
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%s is written as %s", text, r)
		}
	}
	for _, text := range []string{"", "2", "mbit", "-1mbit", "0bit", "2 mb", "infbit", "nanbit"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q is read as %s", text, r)
		}
	}
	for _, text := range []string{"", "1", "-1%", "101%", "x%", "NaN%"} {
		if p, err := ParsePercent(text); err == nil {
			t.Errorf("%q is read as %s", text, p)
		}
	}
	c := Conditions{Delay: time.Second, Loss: 1.5, Rate: 2_000_000, Down: true}
	raw, err := json.Marshal(c)
	if err != nil || string(raw) != `{"delay":1000000000,"loss":"1.5%","rate":"2mbit","down":true}` {
		t.Errorf("%s, %v", raw, err)
	}
	var again Conditions
	if err := json.Unmarshal(raw, &again); err != nil || again != c {
		t.Errorf("%+v, %v", again, err)
	}
	if got := c.String(); got != "down=true delay=1s loss=1.5% rate=2mbit" {
		t.Errorf("%s", got)
	}
}
