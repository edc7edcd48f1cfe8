package suite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Shard is one of several parts of a run, which are played on as many machines. The zero Shard
// is the whole run.
type Shard struct {
	// Number of the part, from 1, and Of how many.
	Number, Of int
}

// maxShards is more than any build farm has machines for.
const maxShards = 10000

// ParseShard reads a shard such as "2/5".
func ParseShard(text string) (Shard, error) {
	number, of, ok := strings.Cut(text, "/")
	n, errN := strconv.Atoi(number)
	m, errM := strconv.Atoi(of)
	if !ok || errors.Join(errN, errM) != nil || n < 1 || m < n || m > maxShards {
		return Shard{}, fmt.Errorf("%q is no shard: it has to be the number of the part and of how many, such as 2/5", text)
	}
	return Shard{n, m}, nil
}

// String returns the shard as [ParseShard] reads it.
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Number, s.Of) }

// pick returns which of things that take this long are in the shard: the longest are dealt out first,
// each to the shard that has the least to do. The same durations give the same shards, and
// everything is in one of them.
func (s Shard) pick(durations []time.Duration) []bool {
	order := make([]int, len(durations))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(durations[b], durations[a]) })
	load := make([]time.Duration, max(1, s.Of))
	picked := make([]bool, len(durations))
	for _, i := range order {
		least := 0
		for k := range load {
			if load[k] < load[least] {
				least = k
			}
		}
		load[least] += durations[i]
		picked[i] = s.Of == 0 || least == s.Number-1
	}
	return picked
}
