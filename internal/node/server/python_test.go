package server

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/trace"
)

// TestPythonClient has a client of another make talk to the server over wss. The
// system's python3 is asked, whose packages are Debian's.
func TestPythonClient(t *testing.T) {
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import websockets").CombinedOutput(); err != nil {
		if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
			t.Fatalf("%s has no websockets, and WSLAB_REQUIRE_PEERS is set: %s", python, bytes.TrimSpace(out))
		}
		t.Skipf("%s has no websockets (Debian: python3-websockets): %v %s", python, err, bytes.TrimSpace(out))
	}
	r := start(t)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, []byte(r.authority.CertPEM), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "testdata/client.py", "wss://"+r.https+"/?session=python", authority)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var got any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	want := map[string]any{
		"echo": map[string]any{"type": "echo", "seq": 1.0}, "text": "grüße", "binary": "00ff",
		"heartbeat": "2026-01-02T03:04:05Z", "subprotocol": Subprotocol, "extensions": []any{}, "code": 1000.0,
	}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Error(diff)
	}
	e := r.await("closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed && e.Session == "python" })
	if e.Code != 1000 || e.By != "peer" {
		t.Errorf("%+v", e)
	}
}
