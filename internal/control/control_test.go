package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wslab/wslab/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream is a control stream in memory; several hosts may share a node's input.
type stream struct {
	io.Reader
	io.Writer
	close func() error
}

func (s stream) Close() error { return s.close() }

// connect joins a host and a node; end ends the node's side and waits for it.
func connect(t *testing.T, onEvent func(trace.Event)) (host *Conn, node *Server, end func()) {
	t.Helper()
	toNode, fromHost := io.Pipe()
	toHost, fromNode := io.Pipe()
	node = NewServer(fromNode)
	var serving sync.WaitGroup
	serving.Go(func() { node.Serve(context.Background(), toNode) })
	host = NewConn("nat", stream{toHost, fromHost, func() error { return errors.Join(toHost.Close(), fromHost.Close()) }}, onEvent)
	return host, node, func() {
		_ = fromNode.Close()
		_ = toNode.Close()
		_ = host.Close()
		serving.Wait()
	}
}

func TestCallAnswersAndErrors(t *testing.T) {
	host, node, end := connect(t, nil)
	defer end()
	node.Handle("double", func(_ context.Context, raw json.RawMessage) (any, error) {
		var n int
		if err := json.Unmarshal(raw, &n); err != nil {
			return nil, err
		}
		return 2 * n, nil
	})
	node.Handle("fail", func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("no such toxic") })
	var calls sync.WaitGroup
	for n := range 50 { // side by side: each gets its own answer
		calls.Go(func() {
			var got int
			if err := host.Call(context.Background(), "double", n, &got); err != nil || got != 2*n {
				t.Errorf("double %d: %d, %v", n, got, err)
			}
		})
	}
	calls.Wait()
	var remote *RemoteError
	if err := host.Call(context.Background(), "fail", nil, nil); !errors.As(err, &remote) || err.Error() != "node nat: fail: no such toxic" {
		t.Errorf("%v", err)
	}
	if err := host.Call(context.Background(), "fly", nil, nil); !errors.As(err, &remote) || !remote.Unknown() {
		t.Errorf("%v", err)
	}
}

func TestThenIsDoneAfterTheAnswer(t *testing.T) {
	host, node, end := connect(t, nil)
	defer end()
	done := make(chan struct{})
	node.Handle("restart", func(context.Context, json.RawMessage) (any, error) {
		return Then{Result: "soon", Do: func() { close(done) }}, nil
	})
	var answer string
	if err := host.Call(context.Background(), "restart", nil, &answer); err != nil || answer != "soon" {
		t.Fatalf("%q %v", answer, err)
	}
	<-done
}

func TestEventsComeInOrderAndStrayLinesDoNotMatter(t *testing.T) {
	events := make(chan trace.Event, 3)
	toHost, fromNode := io.Pipe()
	host := NewConn("nat", stream{toHost, io.Discard, toHost.Close}, func(e trace.Event) { events <- e })
	node := NewServer(fromNode)
	node.Record(trace.Event{Type: trace.Ready})
	if _, err := io.WriteString(fromNode, "a stray print\n\n{\"id\":\"somebody-elses\"}\n"); err != nil {
		t.Fatal(err)
	}
	node.Record(trace.Event{Type: trace.Log, Detail: strings.Repeat("x", 1<<20)})
	if e := <-events; e.Type != trace.Ready {
		t.Errorf("%v", e)
	}
	if e := <-events; len(e.Detail) != 1<<20 {
		t.Errorf("%d bytes", len(e.Detail))
	}
	_ = fromNode.Close()
	<-host.Done()
	if err := host.Call(context.Background(), "status", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	_ = host.Close()
}

func TestCallEndsWithItsContext(t *testing.T) {
	host, node, end := connect(t, nil)
	defer end()
	asked, release := make(chan struct{}), make(chan struct{})
	node.Handle("wait", func(context.Context, json.RawMessage) (any, error) {
		close(asked)
		<-release
		return nil, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	if err := host.Call(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
}

func FuzzServe(f *testing.F) {
	f.Add([]byte("{\"id\":\"1\",\"method\":\"status\"}\n"))
	f.Add([]byte("{\n\x00\n[]\n{\"id\":1}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		node := NewServer(io.Discard)
		node.Handle("status", func(context.Context, json.RawMessage) (any, error) { return true, nil })
		node.Serve(context.Background(), strings.NewReader(string(in)))
		ParseEvent(in)
	})
}
