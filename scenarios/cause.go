package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/wslab/wslab/strategy"
)

// Language of the texts that people read.
type Language string

// The languages there are.
const (
	English  Language = "en"
	Japanese Language = "ja"
)

// Cause says why a verdict is what it is, in a few sentences, each made from
// recorded events. It is data: the text comes from a catalogue, see [Cause.Text].
type Cause []Sentence

// Sentence is one statement of a cause: which one, and its figures.
type Sentence struct {
	ID   SentenceID
	Args Args
}

// SentenceID names a sentence of the catalogue.
type SentenceID string

// Args are the figures of a sentence by name: times since the start of the play and
// measured durations ([time.Duration]), configured durations ([Setting]), counts, and names.
type Args map[string]any

// Setting is a duration that somebody has configured: it is shown as it was
// written, where measured ones are shown to a tenth of a second.
type Setting time.Duration

// ID of the cause: that of its first sentence, "" when there is none.
func (c Cause) ID() SentenceID {
	if len(c) == 0 {
		return ""
	}
	return c[0].ID
}

// Text returns the cause in a language; English where the language is unknown.
func (c Cause) Text(l Language) string {
	texts, ok := catalogues()[l]
	if !ok {
		l, texts = English, catalogues()[English]
	}
	stop := ". "
	if l == Japanese {
		stop = "。"
	}
	var b strings.Builder
	for i, s := range c {
		text := s.render(l, texts[s.ID])
		// A sentence that begins with a mark goes on with the one before it.
		if i > 0 && strings.IndexAny(text, ";:,") != 0 {
			b.WriteString(stop)
		}
		b.WriteString(text)
	}
	if b.Len() > 0 {
		b.WriteString(strings.TrimSpace(stop))
	}
	return b.String()
}

// String returns the English text.
func (c Cause) String() string { return c.Text(English) }

// render fills a text's {names} with the arguments.
func (s Sentence) render(l Language, text string) string {
	if text == "" {
		return string(s.ID)
	}
	var pairs []string
	for name, value := range s.Args {
		shown := show(l, value)
		switch name {
		case "nat":
			capital, small := nodeNames(l, shown, "nat", "NAT", "NAT")
			pairs = append(pairs, "{Nat}", capital, "{nat}", small)
			continue
		case "firewall":
			capital, small := nodeNames(l, shown, "firewall", "firewall", "ファイアウォール")
			pairs = append(pairs, "{Firewall}", capital, "{firewall}", small)
			continue
		}
		pairs = append(pairs, "{"+name+"}", shown)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// nodeNames are what a node is called at the beginning of a sentence and inside, by the
// word for its kind. Most labs have one of it, and name it by its kind.
func nodeNames(l Language, node, kind, english, japanese string) (capital, small string) {
	suffix := ""
	if node != kind {
		suffix = " " + node
	}
	if l == Japanese {
		return japanese + suffix, japanese + suffix
	}
	return "The " + english + suffix, "the " + english + suffix
}

// show formats a value.
func show(l Language, value any) string {
	switch v := value.(type) {
	case time.Duration:
		return measured(v) + " " + unit(l, v)
	case Setting:
		return configured(time.Duration(v)) + " " + unit(l, time.Duration(v))
	case means:
		return v.name(l)
	case quantity:
		return v.text(l)
	case probes:
		return v.text(l)
	case hearing:
		return v.text(l)
	case probesInside:
		return v.text(l)
	case ending:
		return v.text(l)
	case side:
		return v.text(l)
	case reason:
		return v.text(l)
	case closeMeaning:
		return v.text(l)
	}
	return fmt.Sprint(value)
}

// measured is a duration to a tenth of a second, a short one in milliseconds.
func measured(d time.Duration) string {
	switch {
	case d > 0 && d < time.Millisecond:
		return "1" // what took no time is said in other words
	case d.Abs() < time.Second:
		return fmt.Sprint(d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f", d.Seconds())
}

func configured(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprint(float64(d.Round(time.Microsecond)) / float64(time.Millisecond))
	}
	return fmt.Sprint(d.Round(time.Millisecond).Seconds())
}

func unit(l Language, d time.Duration) string {
	switch short := d.Abs() < time.Second; {
	case l == Japanese && short:
		return "ミリ秒"
	case l == Japanese:
		return "秒"
	case short:
		return "ms"
	}
	return "s"
}

// means is a means of keepalive as events name it.
type means string

// The means that a client asks by.
const (
	meansPing      means = strategy.MeansPing
	meansHeartbeat means = strategy.MeansHeartbeat
)

func (m means) name(l Language) string {
	if l != Japanese {
		return string(m)
	}
	switch m {
	case "heartbeat":
		return "ハートビート"
	case "server heartbeat":
		return "サーバーのハートビート"
	case "server ping":
		return "サーバーの ping"
	case "TCP keepalive":
		return "TCPキープアライブ"
	}
	return string(m)
}

// ending is how a proxy ended a connection, as events say it: "fin", "reset" or a close code.
type ending string

func (e ending) text(l Language) string {
	switch {
	case e == "fin" && l == Japanese:
		return "クローズフレームなしの FIN"
	case e == "fin":
		return "a FIN, without a close frame"
	case e == "reset":
		return "RST"
	case l == Japanese:
		return "クローズコード " + string(e)
	}
	return "close code " + string(e)
}

// closeMeaning is a close code, to be explained.
type closeMeaning int

func (c closeMeaning) text(l Language) string {
	if l == Japanese {
		return strategy.CloseTextJapanese(int(c))
	}
	return strategy.CloseText(int(c))
}

// side is an end of a connection as events name it.
type side string

func (s side) text(l Language) string {
	switch {
	case l == Japanese && s == "server":
		return "サーバー"
	case l == Japanese:
		return "クライアント"
	}
	return "the " + string(s)
}

// reason is why a server gave a connection up, as its event says it.
type reason string

func (r reason) text(l Language) string {
	if l != Japanese {
		return string(r)
	}
	switch r {
	case "its ping got no answer in time":
		return "ping に時間内の応答がなかった"
	case "its heartbeat got no answer in time":
		return "ハートビートに時間内の応答がなかった"
	case "the client was silent for too long":
		return "クライアントの沈黙が長すぎた"
	}
	return string(r)
}

// probe is one means of keepalive with its interval, or with the silence after which it is used.
type probe struct {
	means        means
	every, after time.Duration
}

// probes are what a strategy sends to keep a connection alive.
type probes []probe

func (all probes) text(l Language) string {
	texts := make([]string, len(all))
	for i, p := range all {
		switch {
		case p.after > 0 && l == Japanese:
			texts[i] = show(l, p.after) + "の沈黙の後の " + p.means.name(l)
		case p.after > 0:
			texts[i] = string(p.means) + "s after " + show(l, p.after) + " of silence"
		case l == Japanese:
			texts[i] = show(l, Setting(p.every)) + "ごとの " + p.means.name(l)
		default:
			texts[i] = string(p.means) + "s every " + show(l, Setting(p.every))
		}
	}
	if l == Japanese {
		return strings.Join(texts, " と ")
	}
	text := strings.Join(texts, " and ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// inside are probes as they are called inside of a sentence.
func (all probes) inside() probesInside { return probesInside(all) }

type probesInside probes

func (all probesInside) text(l Language) string {
	text := probes(all).text(l)
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// quantity is a number of things that are counted in words of their own.
type quantity struct {
	n                   int
	one, many, japanese string
}

func messages(n int) quantity { return quantity{n, "message", "messages", "件のメッセージ"} }
func attempts(n int) quantity {
	return quantity{n, "failed attempt", "failed attempts", "回の試行に失敗"}
}
func times(n int) quantity { return quantity{n, "time", "times", "回"} }

func (q quantity) text(l Language) string {
	switch {
	case l == Japanese:
		return fmt.Sprint(q.n, " ", q.japanese)
	case q.n == 1:
		return fmt.Sprint(q.n, " ", q.one)
	}
	return fmt.Sprint(q.n, " ", q.many)
}
