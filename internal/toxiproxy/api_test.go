package toxiproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2/client"
	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

// nodes are carriers that do what a relay answers.
type nodes map[string]*toxics.Chain

func (n nodes) Call(_ context.Context, node, method string, params, result any) error {
	chain := n[node]
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	var spec topology.ToxicSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	var answer any
	switch method {
	case "toxic.list":
		answer = chain.List()
	case "toxic.add":
		answer, err = chain.Add(spec)
	case "toxic.update":
		answer, err = chain.Update(spec)
	case "toxic.remove":
		answer, err = chain.Remove(spec.Name)
	}
	if err != nil {
		return &control.RemoteError{Node: node, Method: method, Message: err.Error()}
	}
	if result == nil {
		return nil
	}
	raw, err = json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

func serve(t *testing.T) (nodes, string) {
	t.Helper()
	n := nodes{"nat": toxics.NewChain(1), "http-proxy": toxics.NewChain(1)}
	server := httptest.NewServer(Handler(n, []Proxy{
		{Name: "nat", Listen: "100.64.0.2:0", Upstream: "203.0.113.3:0"},
		{Name: "http-proxy", Listen: "10.20.0.3:3128", Upstream: "server:443"},
	}, toxics.Types()))
	t.Cleanup(server.Close)
	return n, server.URL
}

// Toxiproxy's own client works on it.
func TestToxiproxysClient(t *testing.T) {
	n, url := serve(t)
	c := toxiproxy.NewClient(url)
	all, err := c.Proxies()
	if err != nil || len(all) != 2 || !all["nat"].Enabled || all["http-proxy"].Listen != "10.20.0.3:3128" {
		t.Fatalf("proxies %+v, %v", all, err)
	}
	nat, err := c.Proxy("nat")
	if err != nil {
		t.Fatal(err)
	}
	added, err := nat.AddToxic("", "latency", "upstream", 1, toxiproxy.Attributes{"latency": 100, "jitter": 10})
	if err != nil {
		t.Fatal(err)
	}
	want := &toxiproxy.Toxic{Name: "latency_upstream", Type: "latency", Stream: "upstream", Toxicity: 1,
		Attributes: toxiproxy.Attributes{"latency": 100.0, "jitter": 10.0}}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Error(diff)
	}
	if got := string(n["nat"].List()[0].Attributes); got != `{"latency":100000000,"jitter":10000000}` {
		t.Errorf("the node has %s", got)
	}
	// What an update does not name stays.
	updated, err := nat.UpdateToxic("latency_upstream", 0.5, toxiproxy.Attributes{"latency": 0.25})
	if err != nil || updated.Toxicity != 0.5 || updated.Attributes["latency"] != 0.25 || updated.Attributes["jitter"] != 10.0 {
		t.Errorf("updated %+v, %v", updated, err)
	}
	if _, err := nat.AddToxic("cut", "slicer", "", 1, toxiproxy.Attributes{"average_size": 10, "delay": 50}); err != nil {
		t.Fatal(err)
	}
	if got := string(n["nat"].List()[1].Attributes); got != `{"average_size":10,"size_variation":0,"delay":50000}` {
		t.Errorf("the node has %s", got)
	}
	if _, err := nat.AddToxic("lost", "ws_frames", "upstream", 1, toxiproxy.Attributes{"opcodes": []string{"pong"}}); err != nil {
		t.Fatal(err)
	}
	// As toxiproxy-cli has it, where there are no lists.
	if _, err := nat.AddToxic("words", "ws_frames", "downstream", 1, toxiproxy.Attributes{"opcodes": "ping,pong"}); err != nil {
		t.Fatal(err)
	}
	if err := nat.RemoveToxic("words"); err != nil {
		t.Fatal(err)
	}
	list, err := nat.Toxics()
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	if err != nil || strings.Join(names, " ") != "latency_upstream lost cut" {
		t.Errorf("toxics %s, %v", names, err)
	}
	if err := nat.RemoveToxic("cut"); err != nil {
		t.Fatal(err)
	}
	if err := nat.Disable(); err != nil {
		t.Fatal(err)
	}
	if off, err := c.Proxy("nat"); err != nil || off.Enabled || len(off.ActiveToxics) != 2 {
		t.Errorf("disabled: %+v, %v", off, err)
	}
	if err := nat.Enable(); err != nil {
		t.Fatal(err)
	}
	if len(n["nat"].List()) != 2 {
		t.Errorf("enabled again: %+v", n["nat"].List())
	}
	if err := c.ResetState(); err != nil || len(n["nat"].List()) != 0 {
		t.Errorf("reset: %v, %+v", err, n["nat"].List())
	}
	if populated, err := c.Populate([]toxiproxy.Proxy{{Name: "nat", Listen: "localhost:1", Upstream: "localhost:2", Enabled: true}}); err != nil || len(populated) != 1 {
		t.Errorf("populate: %+v, %v", populated, err)
	}
	if version, err := c.Version(); err != nil || !strings.Contains(string(version), Version) {
		t.Errorf("version %s, %v", version, err)
	}
}

func TestRefusals(t *testing.T) {
	n, url := serve(t)
	if _, err := n["nat"].Add(topology.ToxicSpec{Type: "latency", Toxicity: 1}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/proxies/nobody", "", `404 {"error":"proxy not found","status":404}`},
		{"GET", "/proxies/nat/toxics/nothing", "", `404 {"error":"toxic not found","status":404}`},
		{"POST", "/proxies", `{"name": "redis", "upstream": "localhost:6379"}`, `400 {"error":"cannot create proxy redis: the proxies of a lab are its nodes; change the lab file and run wslab up","status":400}`},
		{"POST", "/proxies", `{"name": "redis"}`, `400 {"error":"missing required field: upstream","status":400}`},
		{"POST", "/proxies", `{"upstream": "x"}`, `400 {"error":"missing required field: name","status":400}`},
		{"POST", "/proxies", `{"name": "nat", "upstream": "x"}`, `409 {"error":"proxy already exists","status":409}`},
		{"POST", "/populate", `[{"name": "redis"}]`, `400 {"error":"cannot create proxy redis: the proxies of a lab are its nodes; change the lab file and run wslab up","status":400}`},
		{"DELETE", "/proxies/nat", "", `400 {"error":"cannot delete proxy nat: the proxies of a lab are its nodes; change the lab file and run wslab up","status":400}`},
		{"PATCH", "/proxies/nat", `{"listen": "localhost:1"}`, `400 {"error":"cannot move proxy nat: the proxies of a lab are its nodes; change the lab file and run wslab up","status":400}`},
		{"POST", "/proxies/nat/toxics", `{"type": "lag"}`, `400 {"error":"invalid toxic type","status":400}`},
		{"POST", "/proxies/nat/toxics", `{"type": "latency", "stream": "sideways"}`, `400 {"error":"stream was invalid, can be either upstream or downstream","status":400}`},
		{"POST", "/proxies/nat/toxics", `{"type": "latency"}`, `409 {"error":"toxic already exists","status":409}`},
		{"POST", "/proxies/nat/toxics", `{"type": "timeout", "attributes": {"timeout": "1s"}}`, `400 {"error":"bad request body: timeout is \"1s\", not a number of milliseconds","status":400}`},
		{"POST", "/proxies/nat/toxics", `{"type": "timeout", "attributes": {"timeout": 1e300}}`, `400 {"error":"bad request body: timeout is too large","status":400}`},
		{"POST", "/proxies/nat/toxics", `{"type": "timeout", "attributes": {"tiemout": 1}}`, `400 {"error":"bad request body: toxic \"timeout_downstream\": there is no attribute \"tiemout\"; timeout has: timeout","status":400}`},
		{"POST", "/proxies/nat/toxics", `{`, `400 {"error":"bad request body: unexpected EOF","status":400}`},
		{"POST", "/proxies/nat/toxics", `{"name": "wslab_disabled", "type": "reset"}`, `400 {"error":"the name wslab_disabled is wslab's own","status":400}`},
		{"DELETE", "/version", "", `405 Method Not Allowed`},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			r, err := http.NewRequest(c.method, url+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if got := fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(text))); err != nil || got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A page that a browser shows must not reach the API.
func TestBrowsersAreRefused(t *testing.T) {
	_, url := serve(t)
	r, err := http.NewRequest("GET", url+"/proxies", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "Mozilla/5.0")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", response.StatusCode)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("POST", "/proxies/nat/toxics", `{"type": "latency", "attributes": {"latency": 1}}`)
	f.Add("PATCH", "/proxies/nat/toxics/latency_downstream", `{"toxicity": 0.5}`)
	f.Add("POST", "/populate", `[{"name": "nat", "enabled": false}]`)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequest(method, "http://lab/", strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") {
			t.Skip()
		}
		r.URL.Path = path
		w := httptest.NewRecorder()
		Handler(nodes{"nat": toxics.NewChain(1)}, []Proxy{{Name: "nat"}}, toxics.Types()).ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
