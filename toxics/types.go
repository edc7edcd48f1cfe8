package toxics

import (
	"errors"
	"fmt"
	"math"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/wslab/wslab/topology"
)

// Types are all types of toxics that a [Chain] knows: Toxiproxy's own, and ours.
//
// Attributes are written with Go durations, in lab time; a chain divides them by its
// speed and multiplies rates with it. A duration that is not zero stays at least
// one unit of Toxiproxy's (a millisecond, for slicer's delay a microsecond) at any speed.
func Types() []*topology.ToxicType {
	return []*topology.ToxicType{
		{
			Name:       "latency",
			Summary:    "Delays data by a latency, plus or minus a random jitter.",
			Attributes: func() any { return &latency{} },
		},
		{
			Name:       "bandwidth",
			Summary:    "Limits the rate of data.",
			Attributes: func() any { return &bandwidth{Rate: 100} },
		},
		{
			Name:       "slow_close",
			Summary:    "Delays the end of the stream (FIN).",
			Attributes: func() any { return &slowClose{Delay: time.Second} },
		},
		{
			Name:       "timeout",
			Summary:    "Stops all data, and closes the connection when none has come for a while; removing it closes the connection too.",
			Attributes: func() any { return &timeout{} },
		},
		{
			Name:       "reset_peer",
			Summary:    "Resets the connection (RST to both ends) a while after its next data, which are dropped.",
			Attributes: func() any { return &resetPeer{} },
		},
		{
			Name:       "slicer",
			Summary:    "Cuts data into small pieces, with a pause after each.",
			Attributes: func() any { return &slicer{AverageSize: 64} },
		},
		{
			Name:       "limit_data",
			Summary:    "Closes the connection once a number of bytes has passed.",
			Attributes: func() any { return &limitData{} },
		},
		{
			Name:       "nat_idle_timeout",
			Summary:    "Forgets a connection after silence in both directions, as a NAT does: what comes then is dropped, or answered with a RST.",
			Attributes: func() any { return &natIdleTimeout{Timeout: 5 * time.Minute, OnExpiry: expiryDrop} },
		},
		{
			Name:       "reset",
			Summary:    "Resets connections (RST to both ends), idle or not: those that are open, and new ones while it is there.",
			Attributes: func() any { return &reset{} },
		},
		{
			Name:       "idle_close",
			Summary:    "Closes a connection (FIN to both ends) after silence in both directions, as a proxy does.",
			Attributes: func() any { return &idleClose{Timeout: time.Minute} },
		},
		{
			Name:       "max_lifetime",
			Summary:    "Ends a connection a time after it was opened, whatever passes on it: keepalive cannot help.",
			Attributes: func() any { return &maxLifetime{Lifetime: 2 * time.Hour, End: endFIN} },
		},
		{
			Name:       "blackhole",
			Summary:    "Lets nothing through in either direction while it is there; when it is removed the connection goes on.",
			Attributes: func() any { return &blackhole{OnHeal: healLose} },
		},
		{
			Name:       "latency_dist",
			Summary:    "Delays data by a time drawn from a distribution, order kept, repeatable by a seed.",
			Attributes: func() any { return &latencyDist{Distribution: distUniform} },
		},
		{
			Name:       "ws_frames",
			Summary:    "Drops, delays or duplicates frames of a cleartext WebSocket by their opcode.",
			Attributes: func() any { return &wsFrames{Opcodes: []string{"ping", "pong"}, Action: framesDrop, Share: 1} },
		},
		{
			Name:       "http_reply",
			Summary:    "Answers the handshake by itself, as a proxy that refuses or a captive portal does, and closes the connection.",
			Attributes: func() any { return &httpReply{Status: 403, To: replyUpgrade} },
		},
	}
}

// attributes of a toxic, as a lab file has them.
type attributes interface {
	// Check says what is wrong with the attributes beyond the bounds of their tags;
	// the bounds that a toxic cannot live without are checked here as well.
	Check() error
	toxic(s scale) toxiproxy.Toxic
}

// scale turns lab time into Toxiproxy's units of wall time.
type scale float64

func (s scale) wall(d time.Duration) time.Duration { return time.Duration(float64(d) / float64(s)) }

// units returns a duration in whole units, to the nearest, and at least one if it is
// not zero.
func (s scale) units(d, unit time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return max(1, int64(math.Round(float64(d)/float64(s)/float64(unit))))
}

func (s scale) milliseconds(d time.Duration) int64 { return s.units(d, time.Millisecond) }

func negative(name string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s is %s, which is negative", name, d)
	}
	return nil
}

type latency struct {
	Latency time.Duration `json:"latency" doc:"How long data are delayed." min:"0s"`
	Jitter  time.Duration `json:"jitter" doc:"The delay varies at random by up to this much, less or more; order is kept." min:"0s"`
}

func (a *latency) Check() error {
	return errors.Join(negative("latency", a.Latency), negative("jitter", a.Jitter))
}

func (a *latency) toxic(s scale) toxiproxy.Toxic {
	return &toxiproxy.LatencyToxic{Latency: s.milliseconds(a.Latency), Jitter: s.milliseconds(a.Jitter)}
}

type bandwidth struct {
	Rate int64 `json:"rate" doc:"Kilobytes (of 1000 bytes) a second." min:"1" max:"100000000"`
}

func (a *bandwidth) Check() error {
	if a.Rate < 1 || a.Rate > 100_000_000 {
		return fmt.Errorf("rate is %d, not from 1 to 100000000 KB/s", a.Rate)
	}
	return nil
}

func (a *bandwidth) toxic(s scale) toxiproxy.Toxic {
	return &toxiproxy.BandwidthToxic{Rate: max(1, int64(math.Round(float64(a.Rate)*float64(s))))}
}

type slowClose struct {
	Delay time.Duration `json:"delay" doc:"How long the end of the stream is delayed." min:"0s"`
}

func (a *slowClose) Check() error { return negative("delay", a.Delay) }

func (a *slowClose) toxic(s scale) toxiproxy.Toxic {
	return &toxiproxy.SlowCloseToxic{Delay: s.milliseconds(a.Delay)}
}

type timeout struct {
	Timeout time.Duration `json:"timeout" doc:"The connection is closed when no data have come for this long; 0 never closes it." min:"0s"`
}

func (a *timeout) Check() error { return negative("timeout", a.Timeout) }

func (a *timeout) toxic(s scale) toxiproxy.Toxic {
	return &toxiproxy.TimeoutToxic{Timeout: s.milliseconds(a.Timeout)}
}

type slicer struct {
	AverageSize   int           `json:"average_size" doc:"Bytes of a piece on average." min:"1"`
	SizeVariation int           `json:"size_variation" doc:"Bytes by which the size varies, less or more; below average_size." min:"0"`
	Delay         time.Duration `json:"delay" doc:"Pause after each piece." min:"0s"`
}

// Check refuses what makes Toxiproxy's slicer recurse without end or cut outside its data.
func (a *slicer) Check() error {
	switch {
	case a.AverageSize < 1:
		return fmt.Errorf("average_size is %d, not at least 1", a.AverageSize)
	case a.SizeVariation < 0 || a.SizeVariation >= a.AverageSize:
		return fmt.Errorf("size_variation is %d, not from 0 to below average_size (%d)", a.SizeVariation, a.AverageSize)
	}
	return negative("delay", a.Delay)
}

func (a *slicer) toxic(s scale) toxiproxy.Toxic {
	return &toxiproxy.SlicerToxic{
		AverageSize:   a.AverageSize,
		SizeVariation: a.SizeVariation,
		Delay:         int(s.units(a.Delay, time.Microsecond)),
	}
}

type limitData struct {
	Bytes int64 `json:"bytes" doc:"Bytes that pass before the connection is closed." min:"0"`
}

func (a *limitData) Check() error {
	if a.Bytes < 0 {
		return fmt.Errorf("bytes is %d, which is negative", a.Bytes)
	}
	return nil
}

func (a *limitData) toxic(scale) toxiproxy.Toxic { return &toxiproxy.LimitDataToxic{Bytes: a.Bytes} }
