package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// docClients are the clients of the documentation, and what takes the keepalive out of each.
var docClients = map[string][2]string{
	"client.py":   {"ping_interval=20 / speed, ping_timeout=10 / speed", "ping_interval=None"},
	"client.js":   {"setInterval(beat, 20000 / speed)", "0"},
	"client.go":   {"\t\tkeepAlive(ws, 20*second)\n", ""},
	"client.html": {"setInterval(beat, 20000 / speed)", "0"},
}

// withoutKeepalive writes the clients of the documentation to a directory, each with its keepalive taken out.
func withoutKeepalive(t *testing.T, dir string) {
	t.Helper()
	for name, keepalive := range docClients {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), keepalive[0]) != 1 {
			t.Fatalf("%s has no keepalive that is known here", name)
		}
		without := strings.Replace(string(text), keepalive[0], keepalive[1], 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(without), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// goClient compiles a client of the documentation.
func goClient(t *testing.T, source, to string) {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	file := to + ".go"
	without := strings.Replace(string(text), "func keepAlive(", "var _ = keepAlive\n\nfunc keepAlive(", 1) // it may not be called
	if err := os.WriteFile(file, []byte(without), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", to, file)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// peer skips without a program of Debian that a test needs, unless it is required.
func peer(t *testing.T, path, debian string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
		t.Fatalf("%s is required here", debian)
	}
	t.Skipf("%s is not installed", debian)
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// browse opens pages in Chromium until the test ends.
func browse(t *testing.T, pages ...string) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox)
	browser, closeBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(closeBrowser)
	first, closeFirst := chromedp.NewContext(browser)
	t.Cleanup(closeFirst)
	for i, page := range pages {
		tab := first
		if i > 0 {
			var closeTab context.CancelFunc
			tab, closeTab = chromedp.NewContext(first)
			t.Cleanup(closeTab)
		}
		if err := chromedp.Run(tab, chromedp.Navigate(page)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDocumentedClients plays the clients of docs/clients.md, each with its keepalive and without: those
// are red where silence kills, and nowhere else.
func TestDocumentedClients(t *testing.T) {
	peer(t, "/usr/lib/python3/dist-packages/websockets", "python3-websockets")
	peer(t, "/usr/share/nodejs/ws", "node-ws")
	peer(t, "/usr/bin/chromium", "chromium")
	r := newNetnsRig(t)
	docs, err := filepath.Abs(filepath.Join("..", "..", "docs", "clients"))
	if err != nil {
		t.Fatal(err)
	}
	withoutKeepalive(t, r.dir)
	goClient(t, filepath.Join(docs, "client.go"), filepath.Join(r.dir, "go"))
	goClient(t, filepath.Join(r.dir, "client.go"), filepath.Join(r.dir, "go-quiet"))
	const scenario = `
name: silence
lab:
  - home
  - { name: corporate, via: app-proxy }
  - { name: home, with: { nat: { idle_timeout: 2h } } }
steps:
  - talk: 2s
  - quiet: 40s
  - talk: 5s
expect:
  none: failed
`
	file := filepath.Join(r.dir, "silence.yaml")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	page := func(dir, port string) string {
		query := url.Values{"url": {"ws://localhost:" + port + "/"}, "speed": {"5"}}
		return (&url.URL{Scheme: "file", Path: filepath.Join(dir, "client.html"), RawQuery: query.Encode()}).String()
	}
	port, quiet := freePort(t), freePort(t)
	browse(t, page(docs, port), page(r.dir, quiet))
	const node = "NODE_PATH=/usr/share/nodejs exec node "
	stdout, stderr, code := r.run("run", file, "--speed", "5", "--format", "json",
		"--client", "python=exec /usr/bin/python3 "+filepath.Join(docs, "client.py"),
		"--client", "python-quiet=exec /usr/bin/python3 "+filepath.Join(r.dir, "client.py"),
		"--client", "node="+node+filepath.Join(docs, "client.js"), "--client", "node-quiet="+node+filepath.Join(r.dir, "client.js"),
		"--client", "go="+filepath.Join(r.dir, "go"), "--client", "go-quiet="+filepath.Join(r.dir, "go-quiet"),
		"--client-port", "page="+port, "--client-port", "page-quiet="+quiet,
		"--like", "python-quiet=none", // which is expected to fail
	)
	var run document
	if err := json.Unmarshal([]byte(stdout), &run); err != nil || code != exitFailed {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if len(run.Cells) != 3*8 {
		t.Fatalf("%d cells\n%s", len(run.Cells), stderr)
	}
	for i, c := range run.Cells {
		kills := i < 2*8 // a silence of 40 s, in the first two plays
		verdict, cause := "survived", "kept the NAT mapping alive"
		switch {
		case strings.HasSuffix(c.Client, "-quiet") && kills:
			verdict, cause = "failed", "The NAT dropped the mapping at "
		case !kills:
			cause = "Nothing broke the connection"
		}
		if c.Verdict != verdict || !strings.Contains(c.Cause, cause) {
			t.Errorf("%s on %s %s: %s: %s", c.Client, c.Lab, c.Path, c.Verdict, c.Cause)
		}
		if asExpected := c.Verdict == "survived" != (c.Client == "python-quiet"); c.Passed != asExpected {
			t.Errorf("%s on %s: passed %v with %s, expected %s", c.Client, c.Lab, c.Passed, c.Verdict, c.Expected)
		}
		if (c.Lost > 0) != (verdict == "failed") || c.Sent < 7 {
			t.Errorf("%s on %s: %d of %d lost", c.Client, c.Lab, c.Lost, c.Sent)
		}
	}
}

const shortScenario = `
name: short
lab: home
steps:
  - talk: 2s
  - quiet: 20s
  - talk: 2s
expect:
  none: survived
`

// clientRig is an engine, a client that can be run on it, and a scenario.
type clientRig struct {
	*netnsRig
	client, scenario string
	docker           bool
}

// eachEngine runs a test of programs on each engine.
func eachEngine(t *testing.T, test func(*testing.T, *clientRig)) {
	for _, k := range engines() {
		t.Run(k.name, func(t *testing.T) {
			r := &clientRig{docker: k.name == "docker"}
			if r.docker {
				needDocker(t)
				if os.Geteuid() != 0 {
					t.Skip("programs in nodes of Docker need root")
				}
				r.netnsRig = &netnsRig{t: t, dir: t.TempDir()}
			} else {
				r.netnsRig = newNetnsRig(t)
			}
			r.client, r.scenario = filepath.Join(r.dir, "client"), filepath.Join(r.dir, "short.yaml")
			goClient(t, filepath.Join("..", "..", "docs", "clients", "client.go"), r.client)
			if err := os.WriteFile(r.scenario, []byte(shortScenario), 0o644); err != nil {
				t.Fatal(err)
			}
			test(t, r)
		})
	}
}

func (r *clientRig) command(args ...string) *exec.Cmd {
	cmd := r.netnsRig.command(args...)
	if r.docker {
		cmd.Args = append([]string{cmd.Args[0], "--engine", "docker"}, args...)
	}
	return cmd
}

// TestClientsThatDoNotBehave: one that ends early, one that does not end, and one that never connects.
func TestClientsThatDoNotBehave(t *testing.T) {
	eachEngine(t, func(t *testing.T, r *clientRig) {
		cmd := r.command("run", r.scenario, "--speed", "5", "--format", "json",
			"--client", "good="+r.client,
			"--client", "hangs=echo I stay; trap '' TERM; "+r.client+" & while true; do sleep 1; done",
			"--client", "leaves="+r.client+" & sleep 2; echo enough; exit 4",
			"--client", "absent=echo no such server >&2; exit 3",
		)
		var out, progress bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &progress
		_ = cmd.Run() // the exit code says it
		var run document
		if err := json.Unmarshal(out.Bytes(), &run); err != nil || cmd.ProcessState.ExitCode() != exitFailed || len(run.Cells) != 4 {
			t.Fatalf("%s: %v\n%s%s", cmd.ProcessState, err, &out, &progress)
		}
		for i, want := range []string{
			"Nothing broke the connection",
			"The program did not end when it was told to (SIGTERM), and was killed. Its last output: I stay.",
			"(exit code 4), before the play did. Its last output: enough.",
			"(exit code 3), and no handshake of it had reached the server. Its last output: no such server.",
		} {
			c := run.Cells[i]
			if !strings.Contains(c.Cause, want) || c.Passed != (i == 0) {
				t.Errorf("%s: %s: %s", c.Client, c.Verdict, c.Cause)
			}
		}
	})
}

// TestNothingOfClientsIsLeft: a client with a daemon, which has a session of its own, after a run, after Ctrl-C in the
// middle of one, and after kill -9.
func TestNothingOfClientsIsLeft(t *testing.T) {
	eachEngine(t, func(t *testing.T, r *clientRig) {
		duration := fmt.Sprintf("%d.75", 200000+os.Getpid())
		args := []string{"run", r.scenario, "--speed", "5", "--client", "setsid sleep " + duration + " & exec " + r.client}
		none := func() bool { return len(sleepers(t, duration)) == 0 }
		whole := r.command(args...)
		if out, err := whole.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !none() {
			t.Errorf("after the run: %v", sleepers(t, duration))
		}
		half := func() *exec.Cmd {
			t.Helper()
			cmd := r.command(args...)
			progress, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(progress); lines.Scan(); {
				if strings.Contains(lines.Text(), "step 2 of 3") {
					go func() { _, _ = io.Copy(io.Discard, progress) }()
					if none() {
						t.Fatal("the daemon does not run")
					}
					return cmd
				}
			}
			t.Fatal("the run ended before its second step")
			return nil
		}
		interrupted := half()
		if err := interrupted.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = interrupted.Wait()
		if code := interrupted.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("exit code %d", code)
		}
		if !none() {
			t.Errorf("after Ctrl-C: %v", sleepers(t, duration))
		}
		killed := half()
		if err := killed.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = killed.Wait()
		until(t, "the daemon is gone after kill -9", none)
		if r.docker { // of a killed run its lab stays until somebody takes it down
			_, _, _ = wslab(t, "--engine", "docker", "down", "home")
		}
	})
}

// TestClientImage runs a client from an image that holds nothing else.
func TestClientImage(t *testing.T) {
	needDocker(t)
	dir := t.TempDir()
	client, scenario := filepath.Join(dir, "client"), filepath.Join(dir, "short.yaml")
	goClient(t, filepath.Join("..", "..", "docs", "clients", "client.go"), client)
	if err := os.WriteFile(scenario, []byte(shortScenario), 0o644); err != nil {
		t.Fatal(err)
	}
	image := importImage(t, client, `ENTRYPOINT ["/client"]`)
	if out := must(t, "--engine", "docker", "run", scenario, "--speed", "5", "--client-image", "mine="+image); !strings.Contains(out, "mine    ● survived") {
		t.Errorf("%s", out)
	}
	if left := leftovers(t, "home"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	_, stderr, code := wslab(t, "--engine", "netns", "run", scenario, "--speed", "5", "--client-image", image)
	if code != exitUnfit || !strings.Contains(stderr, "--client-image needs an engine that runs container images") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	_, stderr, code = wslab(t, "--engine", "docker", "run", scenario, "--speed", "5", "--client-image", "wslab.invalid/nobody/nothing")
	if code != exitUnfit || !strings.Contains(stderr, "does not have the image wslab.invalid/nobody/nothing and cannot pull it") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// importImage makes an image of one program, /client.
func importImage(t *testing.T, client, change string) string {
	t.Helper()
	program, err := os.ReadFile(client)
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	out := tar.NewWriter(&content)
	if err := out.WriteHeader(&tar.Header{Name: "client", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("wslab-test-client-%d", os.Getpid())
	load := exec.Command("docker", "import", "-c", change, "-", name)
	load.Stdin = &content
	if said, err := load.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, said)
	}
	t.Cleanup(func() {
		if said, err := exec.Command("docker", "rmi", name).CombinedOutput(); err != nil {
			t.Errorf("the image was not left as it was: %v\n%s", err, said)
		}
	})
	return name
}

// TestClientsPage: docs/clients.md shows the clients that are tested.
func TestClientsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range docClients {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(page, append(text, "```\n"...)) {
			t.Errorf("docs/clients.md shows another %s than docs/clients: paste it anew", name)
		}
	}
}
