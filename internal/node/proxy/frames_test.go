package proxy

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// frame is a frame as a client sends it.
func frame(head byte, payload string) string {
	mask := "\x01\x02\x03\x04"
	switch n := len(payload); {
	case n < 126:
		return string([]byte{head, 0x80 | byte(n)}) + mask + payload
	case n < 1<<16:
		return string([]byte{head, 0x80 | 126, byte(n >> 8), byte(n)}) + mask + payload
	default:
		return string([]byte{head, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + mask + payload
	}
}

const (
	text, more, last = 0x81, 0x01, 0x80
	ping, bye        = 0x89, 0x88
)

func TestFrames(t *testing.T) {
	long, longer := strings.Repeat("x", 300), strings.Repeat("y", 70000)
	for _, c := range []struct {
		name   string
		reader frameReader
		in     string
		pass   int // how many bytes pass; -1 for all
		data   bool
		stop   error
	}{
		{"text", frameReader{}, frame(text, "hello"), -1, true, nil},
		{"long ones", frameReader{}, frame(text, long) + frame(text, longer) + frame(text, ""), -1, true, nil},
		{"control frames", frameReader{}, frame(ping, "hello") + frame(bye, ""), -1, false, nil},
		{"a ping among fragments", frameReader{maxMessage: 6}, frame(more, "abc") + frame(ping, "hello") + frame(last, "def"), -1, true, nil},
		{"a close frame to be dropped", frameReader{stopAtClose: true}, frame(text, "a") + frame(bye, "\x03\xe8"), 7, true, errCloseFrame},
		{"a frame too long", frameReader{maxFrame: 299}, frame(text, "a") + frame(text, long), 7, true, errTooBig},
		{"a message too long", frameReader{maxMessage: 5}, frame(more, "abc") + frame(last, "def"), 9, true, errTooBig},
		{"messages that are short each", frameReader{maxMessage: 3, maxFrame: 3}, frame(text, "abc") + frame(text, "def"), -1, true, nil},
		{"no length that there is", frameReader{maxFrame: 1}, "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xffany bytes", -1, true, nil},
		{"opaque", frameReader{opaque: true, maxFrame: 1, stopAtClose: true}, frame(bye, "not a frame"), -1, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.in
			if c.pass >= 0 {
				want = c.in[:c.pass]
			}
			for _, size := range []int{1, 3, len(c.in)} { // however it is cut
				f := c.reader
				var out []byte
				var data bool
				var err error
				for in := []byte(c.in); len(in) > 0; {
					n := min(size, len(in))
					var some bool
					out, some, err = f.feed(out, in[:n])
					in, data = in[n:], data || some
				}
				if string(out) != want || data != c.data || !errors.Is(err, c.stop) {
					t.Errorf("in pieces of %d: %q, data %v, %v", size, out, data, err)
				}
				if f.stopped == nil && !f.opaque && !f.between() {
					t.Errorf("in pieces of %d: not between frames", size)
				}
			}
		})
	}
}

func TestFramesThatBreakOff(t *testing.T) {
	var f frameReader
	whole := frame(text, strings.Repeat("x", 300))
	out, data, err := f.feed(nil, []byte(whole[:5]))
	if len(out) > 0 || data || err != nil || f.between() || string(f.rest()) != whole[:5] {
		t.Errorf("%q %v %v, rest %q", out, data, err, f.rest())
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(text, "hello")+frame(ping, "")+frame(bye, "\x03\xe8")), 3, true, uint16(0))
	f.Add([]byte(frame(more, "abc")+frame(last, strings.Repeat("z", 200))), 1, false, uint16(100))
	f.Add([]byte("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), 4, true, uint16(1))
	f.Add([]byte("\x82\xfe\x01\x00\x00\x00\x00\x00"), 2, false, uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, size int, drop bool, limit uint16) {
		if size <= 0 {
			size = 1
		}
		whole := frameReader{stopAtClose: drop, maxFrame: uint64(limit), maxMessage: uint64(limit)}
		pieces := whole
		want, wantData, wantErr := whole.feed(nil, data)
		var got []byte
		gotData := false
		var gotErr error
		for rest := data; len(rest) > 0; {
			n := min(size, len(rest))
			var some bool
			got, some, gotErr = pieces.feed(got, rest[:n])
			rest, gotData = rest[n:], gotData || some
		}
		if !bytes.Equal(want, got) || wantData != gotData || (wantErr == nil) != (gotErr == nil) {
			t.Errorf("whole %q %v %v, in pieces %q %v %v", want, wantData, wantErr, got, gotData, gotErr)
		}
		if !bytes.HasPrefix(data, got) {
			t.Errorf("%q passes of %q", got, data)
		}
		if gotErr == nil && !bytes.Equal(append(got, pieces.rest()...), data) {
			t.Errorf("%q and %q are not %q", got, pieces.rest(), data)
		}
	})
}
