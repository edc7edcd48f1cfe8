//go:build linux

// Package wslabtest puts a Go program's WebSocket client into a lab: a network with proxies,
// firewalls and NATs in it, for the time of a test. The test dials through the lab, breaks it, and
// asserts what became of its connection:
//
//	func TestMain(m *testing.M) { wslabtest.Main(m) }
//
//	func TestQuietNAT(t *testing.T) {
//		lab := wslabtest.Up(t, "labs/home.yaml", wslabtest.Speed(10))
//		client := func(ctx context.Context, url string) error {
//			return chat.New(url, lab.Dialer()).Run(ctx) // yours
//		}
//		lab.Judge(client, "nat-idle").Want(t, scenarios.Survived)
//		lab.Judge(client, "talk: 5s", "reset: nat", "talk: 20s").Want(t, scenarios.Recovered)
//	}
//
// A test that judges for itself uses [Lab.Dial] and [Lab.Do].
//
// Labs run on network namespaces of Linux (wslab's engine netns), without root and without Docker. Each
// has its own: any number of tests run side by side, with the same addresses. Where the machine does not
// allow that a test is skipped with the reason, or fails if WSLAB_REQUIRE_NETNS is set in the
// environment.
//
// A lab goes with its test, and also if the test binary is killed. While it is there `wslab ps`, `wslab logs`
// and `wslab exec` show it, by the name that [Lab.Name] returns.
package wslabtest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/engine/netns"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/registry"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// Main runs the tests of a package that uses labs; it is all that its TestMain does. A package that does
// more there calls [Reexec] first.
func Main(m *testing.M) {
	Reexec()
	os.Exit(m.Run())
}

// requireVariable makes a skip for want of network namespaces an error.
const requireVariable = "WSLAB_REQUIRE_NETNS"

// Option changes what [Up] brings up.
type Option func(*options)

type options struct {
	speed     float64
	node, via string
}

// Speed divides every duration of the lab, and of what is played on it, so that minutes are tested in
// seconds. The default is 1. What your own client waits for it does not divide.
func Speed(n float64) Option { return func(o *options) { o.speed = n } }

// From names the client node that connections come out at. The default is the first that has a way to the server.
func From(node string) Option { return func(o *options) { o.node = node } }

// Via names the way to the server that [Lab.Dialer], [Lab.Dial] and plays take: direct, or a proxy of
// the lab. The default is the client's first.
func Via(way string) Option { return func(o *options) { o.via = way } }

// Lab is a running lab of a test. Its methods end the test when they fail, so they are called from the goroutine
// of the test, but for DialContext. Do and plays change the lab, and are called one after another.
type Lab struct {
	t       testing.TB
	file    *topology.Lab
	running engine.Lab
	node    string
	way     way
}

// way is a client's way to the server.
type way struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Proxy string `json:"proxy"`
}

// Up brings up the lab of a file, or one that came with wslab by its name ("home"), and takes it down
// with the test.
func Up(t testing.TB, file string, opts ...Option) *Lab {
	t.Helper()
	o := options{speed: 1}
	for _, option := range opts {
		option(&o)
	}
	if !prepared.Load() {
		t.Fatal("a lab's nodes are processes of this test binary: call wslabtest.Main from TestMain, or wslabtest.Reexec first in it")
	}
	l, path, err := lab.Read(file, registry.New())
	if err != nil {
		t.Fatal(err)
	}
	e, err := netns.New(netns.Options{})
	if err == nil {
		err = e.Probe(t.Context())
	}
	var unfit *engine.UnfitError
	switch {
	case errors.As(err, &unfit) && os.Getenv(requireVariable) == "":
		t.Skipf("no lab can run here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	up, err := lab.Up(t.Context(), e, l, lab.Options{Name: suite.InstanceName(l.Name), File: path, Speed: o.speed, Tied: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.EndTied(context.Background(), e, up.Plan.Lab, up.Tie); err != nil {
			t.Errorf("lab %s: %v", up.Plan.Lab, err)
		}
	})
	running, err := e.Open(t.Context(), up.Plan.Lab)
	if err != nil {
		t.Fatal(err)
	}
	lab := &Lab{t: t, file: l, running: running}
	if lab.node, lab.way, err = findWay(running.Plan(), o); err != nil {
		t.Fatal(err)
	}
	return lab
}

// findWay finds the client node and its way.
func findWay(p *topology.Plan, o options) (node string, w way, err error) {
	var known []string
	for _, n := range p.Nodes {
		var settings struct {
			Paths []way `json:"paths"`
		}
		if json.Unmarshal(n.Settings, &settings) != nil {
			continue
		}
		for _, w := range settings.Paths {
			if (o.node == "" || o.node == n.Name) && (o.via == "" || o.via == w.Name) {
				return n.Name, w, nil
			}
			known = append(known, n.Name+" by "+w.Name)
		}
	}
	return "", way{}, fmt.Errorf("lab %s has no client %q with a way %q to the server; there is: %s", p.Lab, o.node, o.via, strings.Join(known, ", "))
}

// Name is that of the instance, for `wslab logs --lab NAME` and the like.
func (l *Lab) Name() string { return l.running.Plan().Lab }

// TLS trusts the lab's own certificate authority.
func (l *Lab) TLS() *tls.Config {
	pool := x509.NewCertPool()
	if n, ok := l.running.Plan().Node(l.node); ok && n.CA != nil {
		pool.AppendCertsFromPEM([]byte(n.CA.CertPEM))
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// URL of the lab's server by the way that was chosen. The server calls the client by the name of the session, which
// may be empty.
func (l *Lab) URL(session string) string {
	if session == "" {
		return l.way.URL
	}
	u, err := url.Parse(l.way.URL)
	if err != nil {
		l.t.Fatal(err)
	}
	query := u.Query()
	query.Set("session", session)
	u.RawQuery = query.Encode()
	return u.String()
}

// Proxy is the forward proxy of the way that was chosen, as [http.Transport] and [websocket.Dialer] want it; there is
// none for a direct way.
func (l *Lab) Proxy(*http.Request) (*url.URL, error) {
	if l.way.Proxy == "" {
		return nil, nil
	}
	return url.Parse(l.way.Proxy)
}

// Dialer dials the lab's server by the way that was chosen, its proxy included.
func (l *Lab) Dialer() *websocket.Dialer {
	return &websocket.Dialer{NetDialContext: l.DialContext, Proxy: l.Proxy, TLSClientConfig: l.TLS()}
}

// Dial opens a WebSocket to the lab's server. It is closed with the test.
func (l *Lab) Dial() *websocket.Conn {
	l.t.Helper()
	conn, answer, err := l.Dialer().DialContext(l.t.Context(), l.URL("test-"+strings.ToLower(rand.Text()[:6])), nil)
	if err != nil && answer != nil {
		err = fmt.Errorf("%w (%s)", err, answer.Status)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Do plays steps as they stand in a scenario, one after another: "flush-nat: nat", "toxic: { at: nat, type: latency, latency:
// 300ms }", "restart: { node: server, down: 3s }". What they change stays until another step changes
// it, or to the end of the test. Connections that are open go through it.
func (l *Lab) Do(steps ...string) {
	l.t.Helper()
	s := l.scenario("steps", steps)
	if err := scenarios.Do(l.t.Context(), l.running, s.Steps); err != nil {
		l.t.Fatal(err)
	}
}

// onTest is what scenarios of a test call its lab.
const onTest = "lab"

// known is what scenarios of the test may name.
func (l *Lab) known() scenarios.Known {
	k := suite.Known(registry.New())
	return scenarios.Known{
		Registry: k.Registry,
		Labs:     append([]string{onTest}, labs.Names()...),
		Lab: func(ref string) (*topology.Lab, error) {
			if ref == onTest {
				return l.file, nil
			}
			return k.Lab(ref)
		},
	}
}

// scenario makes one of steps.
func (l *Lab) scenario(name string, steps []string) *scenarios.Scenario {
	l.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "name: %s\nlab: %s\nclient: %s\nexpect: { none: [survived, recovered, failed] }\nsteps:\n", name, onTest, l.node)
	for _, step := range steps {
		fmt.Fprintf(&text, "  - %s\n", strings.ReplaceAll(strings.TrimSpace(step), "\n", "\n    "))
	}
	s, err := scenarios.Load(name, []byte(text.String()), l.known())
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// plays are the plays of a scenario on this lab by its way.
func (l *Lab) plays(scenario string) []scenarios.Play {
	l.t.Helper()
	found, err := suite.Find([]string{scenario}, l.known())
	if err != nil {
		l.t.Fatal(err)
	}
	plays := found[0].Plays()
	plays = slices.DeleteFunc(plays, func(p scenarios.Play) bool {
		read, _, err := lab.Read(p.Lab, registry.New())
		return err != nil || read.Name != l.file.Name || p.Path != "" && p.Path != l.way.Name || p.Client != "" && p.Client != l.node
	})
	if len(plays) == 0 {
		l.t.Fatalf("scenario %s is not for lab %s from %s by %s", scenario, l.file.Name, l.node, l.way.Name)
	}
	return plays
}

// Play plays a scenario on the lab with the strategies that it expects something of: a file, or one that came with
// wslab by its name. The test fails where something else came than was expected.
func (l *Lab) Play(scenario string) []Cell {
	l.t.Helper()
	var cells []Cell
	for _, p := range l.plays(scenario) {
		for _, c := range l.run(p) {
			if !c.Passed {
				l.t.Errorf("%s on %s: %s was expected of %s, it came to: %s", scenario, l.file.Name, c.Expected, c.Client, c)
			}
			cells = append(cells, c)
		}
	}
	return cells
}

// Cell is what became of a client in a play.
type Cell struct {
	scenarios.Cell
	// Untrusted says why the timing of the play cannot be trusted; empty is that it can.
	Untrusted string
}

// String is the verdict with its cause.
func (c Cell) String() string {
	text := string(c.Verdict) + ": " + c.Cause.Text(scenarios.English)
	if len(c.Unmet) > 0 {
		text += " " + c.Unmet.Text(scenarios.English)
	}
	if c.Untrusted != "" {
		text += " (the timing cannot be trusted: " + c.Untrusted + ")"
	}
	return text
}

// Want fails the test unless the verdict is one of these.
func (c Cell) Want(t testing.TB, verdicts ...scenarios.Verdict) {
	t.Helper()
	if !slices.Contains(verdicts, c.Verdict) {
		t.Errorf("wanted %v, it came to %s", verdicts, c)
	}
}

// run plays a play.
func (l *Lab) run(p scenarios.Play) []Cell {
	l.t.Helper()
	result, err := scenarios.Run(l.t.Context(), l.running, p, scenarios.Options{Progress: l.t.Logf})
	if err != nil {
		l.t.Fatal(err)
	}
	var cells []Cell
	for _, c := range result.Cells {
		cells = append(cells, Cell{c, result.Untrusted})
	}
	return cells
}
