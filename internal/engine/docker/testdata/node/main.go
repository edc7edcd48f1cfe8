// Command node stands in for `wslab node` in the tests of an engine: it sets its
// routes, says that it is ready, and answers a few requests. Its behaviour is
// chosen by the settings of its spec.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// build is set by the linker, to tell the binaries of test processes apart.
var build string

// settings of the test node.
type settings struct {
	// Fail: "panic" and "exit" end the node before it is ready, "stopped" does so
	// with a last word, "silent" never says that it is ready.
	Fail string `json:"fail"`
	// Listen is a TCP port to answer on, with the address of who called.
	Listen int `json:"listen"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 && os.Args[1] == nsexec.Verb {
		return nsexec.Main(os.Args[2:])
	}
	spec, err := nodespec.FromEnviron(os.Environ())
	if err != nil {
		return err
	}
	var s settings
	if err := json.Unmarshal(spec.Settings, &s); err != nil {
		return err
	}
	server := control.NewServer(os.Stdout)
	record := func(t trace.Type, why string) {
		server.Record(trace.Event{Time: time.Now(), Node: spec.Name, Type: t, Err: why})
	}
	switch s.Fail {
	case "panic":
		fmt.Fprintln(os.Stderr, "about to panic")
		panic("the test wants it")
	case "exit":
		fmt.Fprintln(os.Stderr, "first line")
		return errors.New("the test wants it")
	case "stopped":
		record(trace.Stopped, "port 80: address in use")
		os.Exit(1)
	}
	if err := routes(&spec); err != nil {
		return err
	}
	if s.Listen != 0 {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", s.Listen))
		if err != nil {
			return err
		}
		go answer(l)
	}
	var ready atomic.Bool
	handle(server, &spec, &ready)
	if s.Fail != "silent" {
		ready.Store(true)
		record(trace.Ready, "")
	}
	server.Serve(context.Background(), os.Stdin)
	return nil
}

// routes takes the engine's default route away and sets the spec's.
func routes(spec *topology.NodeSpec) error {
	all, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			if err := netlink.RouteDel(&r); err != nil {
				return fmt.Errorf("default route: %w", err)
			}
		}
	}
	for _, r := range spec.Routes {
		dst := net.IPNet{IP: r.Dst.Addr().AsSlice(), Mask: net.CIDRMask(r.Dst.Bits(), 32)}
		if err := netlink.RouteAdd(&netlink.Route{Dst: &dst, Gw: r.Via.AsSlice()}); err != nil {
			return fmt.Errorf("route to %s: %w", r.Dst, err)
		}
	}
	return nil
}

// answer tells each caller the address it comes from.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "%s", c.RemoteAddr())
		_ = c.Close()
	}
}

func handle(server *control.Server, spec *topology.NodeSpec, ready *atomic.Bool) {
	text := func(method string, f func(ctx context.Context, arg string) (any, error)) {
		server.Handle(method, func(ctx context.Context, params json.RawMessage) (any, error) {
			var arg string
			if err := json.Unmarshal(params, &arg); err != nil {
				return nil, err
			}
			return f(ctx, arg)
		})
	}
	server.Handle("status", func(context.Context, json.RawMessage) (any, error) {
		return map[string]any{"ready": ready.Load(), "kind": spec.Kind, "pid": os.Getpid(), "build": build}, nil
	})
	text("echo", func(_ context.Context, arg string) (any, error) { return arg, nil })
	text("warn", func(_ context.Context, arg string) (any, error) {
		fmt.Fprintln(os.Stderr, arg)
		return nil, nil
	})
	// dial returns what the node at an address answers.
	text("dial", func(ctx context.Context, arg string) (any, error) {
		d := net.Dialer{Timeout: 3 * time.Second}
		c, err := d.DialContext(ctx, "tcp4", arg)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		return string(buf[:n]), err
	})
	text("lookup", func(ctx context.Context, arg string) (any, error) { return net.DefaultResolver.LookupHost(ctx, arg) })
	// catch-dns returns the first name server request on the node's own
	// loopback while a name is looked up.
	text("catch-dns", catchDNS)
	text("read", func(_ context.Context, arg string) (any, error) {
		raw, err := os.ReadFile(arg)
		return string(raw), err
	})
	text("write", func(_ context.Context, arg string) (any, error) { return nil, os.WriteFile(arg, []byte("x"), 0o644) })
	text("env", func(_ context.Context, arg string) (any, error) { return os.Getenv(arg), nil })
	server.Handle("addrs", func(context.Context, json.RawMessage) (any, error) {
		addrs, err := net.InterfaceAddrs()
		var all []string
		for _, a := range addrs {
			all = append(all, a.String())
		}
		slices.Sort(all)
		return all, err
	})
	text("exit", func(_ context.Context, arg string) (any, error) {
		fmt.Fprintln(os.Stderr, arg)
		os.Exit(3)
		return nil, nil
	})
}

func catchDNS(ctx context.Context, name string) (any, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	go func() { _, _ = net.DefaultResolver.LookupHost(ctx, name) }()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	buf := make([]byte, 1500)
	n, from, err := c.ReadFrom(buf)
	if n > 3 { // "server failure", RFC 1035 section 4.1.1: the engine need not wait for more
		buf[2], buf[3] = buf[2]|0x80, buf[3]&0xf0|2
		_, _ = c.WriteTo(buf[:n], from)
	}
	label, _, _ := strings.Cut(name, ".")
	return strings.Contains(string(buf[:n]), label), err
}
