package suite

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseShard(t *testing.T) {
	if s, err := ParseShard("2/5"); err != nil || s != (Shard{2, 5}) {
		t.Errorf("%v, %v", s, err)
	}
	for _, text := range []string{"", "2", "0/5", "6/5", "-1/5", "2/", "/5", "a/b", "2/5/6", "1/10001", "1 /2"} {
		if s, err := ParseShard(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

func FuzzParseShard(f *testing.F) {
	for _, seed := range []string{"1/1", "2/5", "5/2", "99999999999999999999/1", "+1/+2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseShard(text)
		if err != nil {
			return
		}
		if again, err := ParseShard(s.String()); err != nil || again != s || s.Number < 1 || s.Number > s.Of {
			t.Errorf("%q: %v, %v, %v", text, s, again, err)
		}
	})
}

// TestShards: everything is in one shard, the same each time, and no shard has much more to do than another.
func TestShards(t *testing.T) {
	durations := []time.Duration{60, 5, 5, 5, 20, 20, 30, 40, 10, 5, 1, 1, 1, 1, 60}
	const of = 4
	var parts [of][]bool
	for n := range of {
		parts[n] = Shard{n + 1, of}.pick(durations)
		if again := (Shard{n + 1, of}).pick(durations); !slices.Equal(parts[n], again) {
			t.Errorf("shard %d is another one the second time", n+1)
		}
	}
	var load [of]time.Duration
	for i, d := range durations {
		in := 0
		for n := range of {
			if parts[n][i] {
				in++
				load[n] += d
			}
		}
		if in != 1 {
			t.Errorf("play %d is in %d shards", i, in)
		}
	}
	if diff := cmp.Diff([of]time.Duration{66, 66, 66, 66}, load); diff != "" {
		t.Error(diff)
	}
	if all := (Shard{}).pick(durations); slices.Contains(all, false) {
		t.Errorf("no shard leaves something out: %v", all)
	}
	if more := (Shard{9, 9}).pick(durations[:2]); slices.Contains(more, true) {
		t.Errorf("more shards than plays: %v", more)
	}
}
