package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is the host's side of a node.
type host struct {
	server *control.Server
	env    *node.Env

	mu  sync.Mutex
	out bytes.Buffer
}

func (h *host) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(b)
}

func newHost(toxics ...topology.ToxicSpec) *host {
	h := &host{}
	h.server = control.NewServer(h)
	h.env = node.NewEnv(topology.NodeSpec{Name: "nat", Speed: 1, Toxics: toxics}, h.server, func() {})
	return h
}

// ask sends requests and returns all that the node has said since, events shortened.
func (h *host) ask(ctx context.Context, requests ...string) []string {
	for _, r := range requests {
		h.server.Serve(ctx, strings.NewReader(r+"\n"))
	}
	return h.said()
}

func (h *host) said() []string {
	h.server.Flush()
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	control.ForEachLine(&h.out, func(line []byte) {
		if e, ok := control.ParseEvent(line); ok {
			e.Time = time.Time{}
			lines = append(lines, strings.Join(strings.Fields(e.String()), " "))
			return
		}
		lines = append(lines, strings.TrimSpace(string(line)))
	})
	return lines
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if d := cmp.Diff(lines, got); d != "" {
		t.Error(d)
	}
}

func TestRequests(t *testing.T) {
	h := newHost(topology.ToxicSpec{Type: "latency", Toxicity: 1, Attributes: json.RawMessage(`{"latency": 1000000}`)})
	r, err := New(h.env)
	if err != nil {
		t.Fatal(err)
	}
	var counts []int
	r.OnToxics(func(n int) { counts = append(counts, n) })
	var adopted []string
	r.OnAdd(func(_ context.Context, s topology.ToxicSpec) error {
		adopted = append(adopted, s.Type)
		if s.Type == "limit_data" {
			return errors.New("the kernel says no")
		}
		return nil
	})
	want(t, h.ask(t.Context(),
		`{"id":"1","method":"toxic.list"}`,
		`{"id":"2","method":"toxic.add","params":{"type":"reset","name":"cut","attributes":{"after":5000000000}}}`,
		`{"id":"3","method":"toxic.add","params":{"type":"reset","name":"cut"}}`,
		`{"id":"4","method":"toxic.add","params":{"type":"limit_data"}}`,
		`{"id":"5","method":"toxic.update","params":{"type":"latency","name":"latency_downstream","attributes":{"latency":2000000}}}`,
		`{"id":"6","method":"toxic.remove","params":{"name":"latency_downstream"}}`,
		`{"id":"7","method":"toxic.remove","params":{"name":"latency_downstream"}}`,
		`{"id":"8","method":"reset"}`,
		`{"id":"9","method":"toxic.list"}`,
	),
		`nat toxic.added latency`,
		`{"id":"1","result":[{"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":1000000,"jitter":0}}]}`,
		`nat toxic.added reset`,
		`{"id":"2","result":{"name":"cut","type":"reset","stream":"downstream","toxicity":1,"attributes":{"after":5000000000}}}`,
		`{"id":"3","error":"toxic \"cut\": there is a toxic of that name already"}`,
		`{"id":"4","error":"toxic of type limit_data: the kernel says no"}`,
		`nat toxic.updated latency`,
		`{"id":"5","result":{"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":2000000,"jitter":0}}}`,
		`nat toxic.removed latency`,
		`{"id":"6","result":{"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":2000000,"jitter":0}}}`,
		`{"id":"7","error":"toxic \"latency_downstream\": no toxic of that name"}`,
		`{"id":"8","result":{"connections":0}}`,
		`{"id":"9","result":[{"name":"cut","type":"reset","stream":"downstream","toxicity":1,"attributes":{"after":5000000000}}]}`,
	)
	if d := cmp.Diff([]string{"reset", "reset", "limit_data"}, adopted); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int{1, 2, 2, 2, 1}, counts); d != "" {
		t.Error(d)
	}
}

func TestBadToxicOfTheSpecIsAnError(t *testing.T) {
	_, err := New(newHost(topology.ToxicSpec{Type: "lag", Toxicity: 1}).env)
	if err == nil || err.Error() != `no toxic of type "lag"` {
		t.Errorf("got %v", err)
	}
}

func TestPairsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		r, err := New(h.env)
		if err != nil {
			t.Fatal(err)
		}
		r.Idle = time.Minute
		pair := func(f func(client, server net.Conn)) {
			client, left := net.Pipe()
			right, server := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.Pipe(t.Context(), left, right, trace.Flow{}, trace.Flow{})
			}()
			synctest.Wait()
			f(client, server)
			<-done
			_ = client.Close()
			_ = server.Close()
		}
		say := func(c net.Conn, text string) {
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		}
		hear := func(c net.Conn) {
			if _, err := c.Read(make([]byte, 100)); err != nil {
				t.Error(err)
			}
		}
		const flows = `flow="invalid AddrPort > invalid AddrPort" next="invalid AddrPort > invalid AddrPort"`
		pair(func(client, server net.Conn) {
			time.Sleep(50 * time.Second)
			say(client, "four")
			hear(server)
			time.Sleep(30 * time.Second)
			_ = server.Close()
		})
		want(t, h.said(),
			"nat relay.open "+flows,
			"nat relay.closed count=4 "+flows+" dur=1m20s by=server")
		pair(func(client, server net.Conn) { time.Sleep(time.Minute) })
		want(t, h.said(),
			"nat relay.open "+flows,
			"nat relay.closed "+flows+" dur=1m0s by=idle")
		pair(func(client, server net.Conn) {
			h.server.Serve(t.Context(), strings.NewReader(`{"id":"1","method":"reset"}`+"\n"))
		})
		said := h.said()
		slices.Sort(said) // the answer and the end of the pair come in any order
		want(t, said,
			"nat relay.closed "+flows+" by=node reset",
			"nat relay.open "+flows,
			`{"id":"1","result":{"connections":1}}`)
		pair(func(client, server net.Conn) {
			h.ask(t.Context(), `{"id":"1","method":"toxic.add","params":{"type":"nat_idle_timeout","attributes":{"timeout":30000000000}}}`)
			time.Sleep(30 * time.Second)
			say(client, "lost")
			_ = client.Close()
			_ = server.Close()
		})
		want(t, h.said(),
			"nat toxic.fired "+flows+" nat_idle_timeout",
			"nat relay.closed "+flows+" dur=30s by=toxic nat_idle_timeout")
	})
}
