package nodetest

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/topology"
)

// Pass has one end send and the other receive.
func Pass(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	if _, err := from.Write([]byte(text)); err != nil {
		t.Fatalf("write %q: %v", text, err)
	}
	_ = to.SetReadDeadline(time.Now().Add(Patience))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v, not %q", got, err, text)
	}
}

// Nothing checks that nothing arrives within a while, not even an end.
func Nothing(t testing.TB, at net.Conn) {
	t.Helper()
	_ = at.SetReadDeadline(time.Now().Add(700 * time.Millisecond))
	if n, err := at.Read(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Reset checks that a RST arrives.
func Reset(t testing.TB, at net.Conn) {
	t.Helper()
	_ = at.SetReadDeadline(time.Now().Add(Patience))
	if n, err := at.Read(make([]byte, 64)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Stream checks that what a writer writes is what a reader reads, byte for byte.
type Stream struct {
	From, To net.Conn
}

// Run streams until stop is closed and returns how many bytes went through.
func (s Stream) Run(stop <-chan struct{}, pace time.Duration) (int64, error) {
	var (
		both            sync.WaitGroup
		written, read   int64
		writing, broken error
	)
	both.Go(func() {
		chunk := make([]byte, 8192)
		for {
			select {
			case <-stop:
				writing = s.From.(*net.TCPConn).CloseWrite()
				return
			default:
			}
			for i := range chunk {
				chunk[i] = pattern(written + int64(i))
			}
			if _, writing = s.From.Write(chunk); writing != nil {
				return
			}
			written += int64(len(chunk))
			time.Sleep(pace)
		}
	})
	both.Go(func() {
		chunk := make([]byte, 64<<10)
		for {
			_ = s.To.SetReadDeadline(time.Now().Add(Patience))
			n, err := s.To.Read(chunk)
			for i := range n {
				if chunk[i] != pattern(read+int64(i)) {
					broken = errors.New("another byte than was written")
					return
				}
			}
			read += int64(n)
			if err == io.EOF {
				return
			}
			if err != nil {
				broken = err
				return
			}
		}
	})
	both.Wait()
	err := errors.Join(writing, broken)
	if err == nil && written != read {
		err = errors.New("bytes are missing")
	}
	return read, err
}

func pattern(i int64) byte { return byte(i ^ i>>8 ^ i>>16*7) }

// Latency is a toxic in the downstream direction.
func Latency(d time.Duration) topology.ToxicSpec {
	return topology.ToxicSpec{
		Name: "slow", Type: "latency", Stream: "downstream", Toxicity: 1,
		Attributes: json.RawMessage(`{"latency":` + jsonNumber(d) + `}`),
	}
}

func jsonNumber(d time.Duration) string {
	raw, _ := json.Marshal(d)
	return string(raw)
}

// RoundTrip measures a message and its answer.
func RoundTrip(t testing.TB, client, server net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	Pass(t, client, server, "ping")
	Pass(t, server, client, "pong")
	return time.Since(start)
}
