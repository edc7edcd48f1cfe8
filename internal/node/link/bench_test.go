package link_test

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/internal/node/nodetest"
)

// BenchmarkLink reports what conditions that are asked for come out as: the median of
// what a datagram takes longer, in milliseconds; bytes a second of one TCP connection against the
// rate that was asked for; and the rate without any.
func BenchmarkLink(b *testing.B) {
	b.Run("delay", func(b *testing.B) {
		p := newPair(b)
		c := p.echo()
		median := func() float64 {
			var all []float64
			for range 200 {
				all = append(all, trip(b, c).Seconds()*1e3)
			}
			slices.Sort(all)
			return all[len(all)/2]
		}
		for b.Loop() {
			base := median()
			for _, delay := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
				p.set(link.Conditions{Delay: delay})
				b.ReportMetric(median()-base, "ms-at-"+delay.String())
			}
			p.set(link.Conditions{})
		}
	})
	for _, bench := range []struct {
		name  string
		c     link.Conditions
		bytes int64
	}{
		{"no conditions", link.Conditions{}, 1 << 30},
		{"10 mbit", link.Conditions{Rate: 10_000_000}, 2 << 20},
		{"100 mbit", link.Conditions{Rate: 100_000_000}, 20 << 20},
		{"10 ms", link.Conditions{Delay: 10 * time.Millisecond}, 200 << 20},
		{"10 ms and 0.1% loss", link.Conditions{Delay: 10 * time.Millisecond, Loss: 0.1}, 20 << 20},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := newPair(b)
			p.set(bench.c)
			l := p.b.Listen(b, "10.0.0.2:80")
			client := p.a.MustDial(b, "10.0.0.2:80")
			server := nodetest.Accept(b, l)
			for b.Loop() {
				start := time.Now()
				go func() {
					chunk := make([]byte, 256<<10)
					for left := bench.bytes; left > 0; left -= int64(len(chunk)) {
						_, _ = client.Write(chunk)
					}
				}()
				if _, err := io.CopyN(io.Discard, server, bench.bytes); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(bench.bytes)*8/time.Since(start).Seconds()/1e6, "mbit/s")
			}
		})
	}
}
