package netns

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// pair returns the two ends of a unix connection.
func pair(t testing.TB) (client, server *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan *net.UnixConn, 1)
	go func() {
		c, _ := l.AcceptUnix()
		accepted <- c
	}()
	client, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: l.Addr().String(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return client, server
}

func TestRequestsCarryPlansAndFiles(t *testing.T) {
	client, server := pair(t)
	plan := &topology.Plan{Lab: "x"}
	for range 3000 { // larger than one message of the socket
		plan.Nodes = append(plan.Nodes, topology.NodeSpec{Name: "node", Hosts: nil})
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	sent := make(chan error, 1)
	go func() { sent <- send(client, request{Op: opExec, Node: "a", Plan: plan}, file, file, file) }()
	r, files, _, err := receive(server)
	defer closeAll(files)
	if err != nil || r.Op != opExec || len(r.Plan.Nodes) != 3000 || len(files) != maxFiles {
		t.Errorf("%s, %d files, %v", r.Op, len(files), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestSupervisorGoneIsSaid(t *testing.T) {
	client, server := pair(t)
	go func() {
		_, _, _, _ = receive(server)
		_ = server.Close()
	}()
	if _, _, err := ask(client, request{Op: opNodes}, nil); !errors.Is(err, errSupervisorGone) {
		t.Errorf("%v", err)
	}
}

func TestStaleSocketIsNoLab(t *testing.T) {
	f := labFiles{t.TempDir(), "x"}
	if _, stale, err := f.dial(); !errors.Is(err, engine.ErrNoLab) || stale {
		t.Errorf("nothing there: %v, %v", stale, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.socket(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if _, stale, err := f.dial(); !errors.Is(err, engine.ErrNoLab) || !stale {
		t.Errorf("a dead socket: %v, %v", stale, err)
	}
	(&Engine{dir: f.dir}).cleanStale(f)
	if _, err := os.Stat(f.socket()); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestLabIsLocked(t *testing.T) {
	f := labFiles{t.TempDir(), "x"}
	release, err := f.take()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.take(); err == nil {
		t.Error("taken twice")
	}
	release()
	release, err = f.take()
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("{\"op\":\"nodes\"}\n"))
	f.Add([]byte("\n"))
	f.Add([]byte("{\"op\":\"apply\",\"plan\":{\"nodes\":[{}]}}\nrest"))
	f.Fuzz(func(t *testing.T, in []byte) {
		client, server := pair(t)
		if _, err := client.Write(in); err != nil {
			t.Skip()
		}
		_ = client.CloseWrite()
		_, files, _, _ := receive(server)
		closeAll(files)
	})
}
