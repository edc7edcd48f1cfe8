package toxics

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// Distributions of latency_dist.
const (
	distUniform = "uniform"
	distNormal  = "normal"
	distPareto  = "pareto"
)

// paretoShape of the excess: its variance is finite, its tail heavy.
const paretoShape = 3

// block is how many bytes of a stream share a delay, about a segment of TCP.
const block = 1460

type latencyDist struct {
	Distribution string        `json:"distribution" doc:"uniform: latency plus or minus up to deviation; normal: mean latency, standard deviation deviation; pareto: at least latency, and a heavy tail above it of mean deviation." enum:"uniform,normal,pareto"`
	Latency      time.Duration `json:"latency" doc:"How long data are delayed, see distribution." min:"0s"`
	Deviation    time.Duration `json:"deviation" doc:"How much the delay varies, see distribution; it is never below 0." min:"0s"`
	Seed         int64         `json:"seed" doc:"The same seed gives the same bytes of the same connection (the first, the second ...) the same delay in every run; 0 takes another each time." min:"0"`
}

func (a *latencyDist) Check() error {
	err := errors.Join(negative("latency", a.Latency), negative("deviation", a.Deviation))
	if a.Distribution != distUniform && a.Distribution != distNormal && a.Distribution != distPareto {
		err = errors.Join(err, fmt.Errorf("distribution is %q, not uniform, normal or pareto", a.Distribution))
	}
	if a.Seed < 0 {
		err = errors.Join(err, fmt.Errorf("seed is %d, which is negative", a.Seed))
	}
	return err
}

func (a *latencyDist) toxic(s scale) toxiproxy.Toxic {
	return &latencyDistToxic{
		distribution: a.Distribution,
		latency:      s.wall(a.Latency),
		deviation:    s.wall(a.Deviation),
		seed:         seedOf(a.Seed),
	}
}

// seedOf returns a seed as it is, or one by chance for 0.
func seedOf(asked int64) uint64 {
	if asked == 0 {
		return rand.Uint64()
	}
	return uint64(asked)
}

// latencyDistToxic delays data by a time drawn from a distribution. Order is kept. Like
// Toxiproxy's latency it delays chunks side by side, not one after another.
type latencyDistToxic struct {
	distribution       string
	latency, deviation time.Duration
	seed               uint64
}

// latencyDistState is the place in the stream.
type latencyDistState struct {
	link   uint64 // which stream of which connection
	offset uint64
}

func (t *latencyDistToxic) seedOfChance() uint64 { return t.seed }

func (t *latencyDistToxic) newLinkState(number uint64, d stream.Direction, _ frameTracker) any {
	return &latencyDistState{link: number<<1 | uint64(d)}
}

// GetBufferSize is how many chunks may be under way.
func (*latencyDistToxic) GetBufferSize() int { return 1024 }

// delay of the bytes at an offset: a function of the seed and the place alone, so that
// it does not matter how the bytes come in pieces.
func (t *latencyDistToxic) delay(link, offset uint64) time.Duration {
	random := rand.New(rand.NewPCG(t.seed^link*0x9e3779b97f4a7c15, offset/block))
	deviation := float64(t.deviation)
	var varied float64
	switch t.distribution {
	case distNormal:
		varied = deviation * random.NormFloat64()
	case distPareto: // Lomax: its mean is scale/(shape-1)
		varied = deviation * (paretoShape - 1) * (math.Pow(1-random.Float64(), -1.0/paretoShape) - 1)
	default:
		varied = deviation * (2*random.Float64() - 1)
	}
	return max(0, t.latency+time.Duration(varied))
}

// Pipe delays data.
func (t *latencyDistToxic) Pipe(stub *toxiproxy.ToxicStub) {
	state := stub.State.(*latencyDistState)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			wait := t.delay(state.link, state.offset) - time.Since(c.Timestamp)
			state.offset += uint64(len(c.Data))
			if wait > 0 {
				timer := time.NewTimer(wait)
				select {
				case <-timer.C:
				case <-stub.Interrupt: // what is held goes on without its delay
					timer.Stop()
					stub.Output <- c
					return
				}
			}
			c.Timestamp = time.Now()
			stub.Output <- c
		}
	}
}
