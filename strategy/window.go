package strategy

import (
	"fmt"
	"strings"
	"time"
)

// Window is how long a black hole on an idle connection goes unnoticed: from the least,
// when it opens just before a probe was due, to the most, when it opens just after one was answered.
// Round trips are neglected. The zero Window is one that nobody notices.
type Window struct {
	Least, Most time.Duration
}

// Never says that the black hole is never noticed: nothing is asked, and the kernel asks
// nothing either while nothing is written.
func (w Window) Never() bool { return w.Most == 0 }

// String is "20 s to 40 s", or "never".
func (w Window) String() string {
	if w.Never() {
		return "never"
	}
	return seconds(w.Least) + " to " + seconds(w.Most)
}

// sooner returns the window of two means at once: the first that notices counts.
func (w Window) sooner(other Window) Window {
	switch {
	case w.Never():
		return other
	case other.Never():
		return w
	}
	return Window{min(w.Least, other.Least), min(w.Most, other.Most)}
}

// Detection returns how long a client that does as the strategy says takes to notice a black
// hole while nobody speaks, calculated from its settings. An [Adaptive] keepalive notices it when it
// doubts the connection; the window is that of one that has learned nothing yet.
func (s Strategy) Detection() Window {
	k := s.WithDefaults().Keepalive
	var w Window
	if k.Ping != nil {
		w = w.sooner(Window{k.Ping.Timeout, k.Ping.Interval + k.Ping.Timeout})
	}
	if h := k.Heartbeat; h != nil && !h.OneWay {
		w = w.sooner(Window{h.Timeout, h.Interval + h.Timeout})
	}
	if t := k.TCP; t != nil {
		probing := time.Duration(t.Count) * t.Interval
		w = w.sooner(Window{probing, t.Idle + probing})
	}
	if k.Watch != nil {
		// What breaks the silence comes at these intervals; the last of it is as old as that.
		heard := k.Watch.Timeout
		if v := k.Server; v != nil && v.Interval > 0 {
			heard = min(heard, v.Interval)
		}
		if k.Watch.Heed == HeedAny && k.Ping != nil {
			heard = min(heard, k.Ping.Interval)
		}
		if h := k.Heartbeat; k.Watch.Heed == HeedAny && h != nil && !h.OneWay {
			heard = min(heard, h.Interval)
		}
		w = w.sooner(Window{k.Watch.Timeout - heard, k.Watch.Timeout + k.Watch.Every})
	}
	if a := k.Adaptive; a != nil {
		noticed := a.Patience
		if s.Reconnect == nil {
			noticed = a.Limit
		}
		w = w.sooner(Window{noticed, a.First + noticed})
	}
	return w
}

// ServerDetection returns how long the server of such clients takes to notice it.
func (s Strategy) ServerDetection() Window {
	k := s.WithDefaults().Keepalive
	v := k.Server
	if v == nil {
		return Window{}
	}
	var w Window
	if v.Interval > 0 && v.Timeout > 0 {
		w = Window{v.Timeout, v.Interval + v.Timeout}
	}
	if v.Silence > 0 {
		heard := v.Silence
		for _, interval := range []time.Duration{k.pings(), k.beats(), v.Interval} {
			if interval > 0 {
				heard = min(heard, interval)
			}
		}
		w = w.sooner(Window{v.Silence - heard, v.Silence})
	}
	return w
}

// pings and beats are the intervals of what the client sends, 0 where it sends none.
func (k Keepalive) pings() time.Duration {
	if k.Ping == nil {
		return 0
	}
	return k.Ping.Interval
}

func (k Keepalive) beats() time.Duration {
	if k.Heartbeat == nil {
		return 0
	}
	return k.Heartbeat.Interval
}

// WhenQuiet says what is sent while nobody speaks, by the client and by its server.
func (s Strategy) WhenQuiet() string {
	k := s.WithDefaults().Keepalive
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if k.Ping != nil {
		add("ping every %s", seconds(k.Ping.Interval))
	}
	if h := k.Heartbeat; h != nil && h.OneWay {
		add("heartbeat every %s, unanswered", seconds(h.Interval))
	} else if h != nil {
		add("heartbeat every %s", seconds(h.Interval))
	}
	if k.Adaptive != nil {
		add("ping after %s, then as learned", seconds(k.Adaptive.First))
	}
	if k.TCP != nil {
		add("TCP keepalive after %s", seconds(k.TCP.Idle))
	}
	if v := k.Server; v != nil && v.Interval > 0 {
		add("server: %s every %s", v.Means, seconds(v.Interval))
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, "; ")
}

// seconds is a duration as people write it: 20 s, 1.5 s, 200 ms.
func seconds(d time.Duration) string {
	if d > 0 && d < time.Second {
		return fmt.Sprintf("%.4g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.4g s", d.Seconds())
}

// Reconnects says how the strategy gets a connection back, in a few words.
func (s Strategy) Reconnects() string {
	r := s.WithDefaults().Reconnect
	if r == nil {
		return "no"
	}
	var waits []string
	for _, first := range r.First {
		text := seconds(first)
		if r.FirstJitter > 0 && first > 0 {
			text = span(time.Duration(float64(first)*(1-r.FirstJitter)), first)
		}
		waits = append(waits, text)
	}
	if len(waits) > 4 {
		waits = append(waits[:1], "...", waits[len(waits)-1])
	}
	if r.Tries < 0 || r.Tries > len(r.First) {
		waits = append(waits, r.backoff())
	}
	text := strings.Join(waits, ", ")
	if r.Adaptive != nil {
		text = "at once; refused: " + text
	}
	if r.Tries >= 0 {
		text += fmt.Sprintf("; %d tries", r.Tries)
	}
	return text
}

// backoff describes the waits after the first ones.
func (r Reconnect) backoff() string {
	least, most := r.Base, r.Base
	var how string
	switch r.Spread {
	case SpreadAbove:
		most = time.Duration(float64(r.Base) * (1 + r.Jitter))
	case SpreadAround:
		least, most = time.Duration(float64(r.Base)*(1-r.Jitter)), time.Duration(float64(r.Base)*(1+r.Jitter))
	case SpreadOnce:
		most, how = time.Duration(float64(r.Base)*(1+r.Jitter)), " (drawn once)"
	case SpreadDecorrelated:
		return fmt.Sprintf("%s to 3 times the last, up to %s", seconds(r.Base), seconds(r.Max))
	default:
		least = time.Duration(float64(r.Base) * (1 - r.Jitter))
	}
	text := span(least+r.Add, most+r.Add+r.AddJitter) + how
	if r.Factor > 1 {
		text += fmt.Sprintf(" x%.4g up to %s", r.Factor, seconds(r.Max))
	}
	return text
}

// span is "1 s" or "1-5 s".
func span(least, most time.Duration) string {
	if least == most {
		return seconds(least)
	}
	return strings.TrimSuffix(seconds(least), " s") + "-" + seconds(most)
}
