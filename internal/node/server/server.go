// Package server is the server of a lab: WebSocket on a cleartext and a TLS port,
// and a ledger of every session that says what arrived, was lost, and came twice.
package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Settings of a server in a lab file.
type Settings struct {
	HTTPPort  int `json:"http_port" doc:"Port for ws and http; 0 is off." min:"0" max:"65535"`
	HTTPSPort int `json:"https_port" doc:"Port for wss and https, with a certificate of the lab's own authority; 0 is off." min:"0" max:"65535"`
}

// Kind is the server kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:     "server",
			Summary:  "Answers WebSocket clients with the numbered echo and keeps a ledger of every session.",
			Settings: func() any { return &Settings{HTTPPort: 80, HTTPSPort: 443} },
			Target:   true,
			Check:    check,
			Needs:    func(any) topology.Needs { return topology.Needs{CA: true} },
		},
		Run: run,
	}
}

func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	switch {
	case s.HTTPPort == 0 && s.HTTPSPort == 0:
		c.Problemf("", "leave one of them on", "server %s has neither an http_port nor an https_port", c.Node.Name)
	case s.HTTPPort == s.HTTPSPort:
		c.Problemf("https_port", "", "http_port and https_port of server %s are the same", c.Node.Name)
	}
}

// service is a running server.
type service struct {
	env    *node.Env
	ctx    context.Context // of the whole run: connections are hijacked from their requests
	ledger *ledger

	mu      sync.Mutex
	talking map[string]context.CancelFunc
	talks   sync.WaitGroup
}

func run(ctx context.Context, env *node.Env) error {
	var settings Settings
	if err := env.Settings(&settings); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &service{env: env, ctx: ctx, ledger: newLedger(), talking: make(map[string]context.CancelFunc)}
	s.handle()
	listeners, err := s.listen(ctx, settings)
	if err != nil {
		return err
	}
	web := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		// Broken handshakes are the client's doing and no news.
		ErrorLog: log.New(io.Discard, "", 0),
		// HTTP/2 has no Upgrade.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { errs <- web.Serve(l) }()
	}
	env.Ready()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-errs:
	}
	cancel()
	if closeErr := web.Close(); err == nil && closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
		err = closeErr
	}
	s.talks.Wait()
	return err
}

// listen opens the ports that are on.
func (s *service) listen(ctx context.Context, settings Settings) ([]net.Listener, error) {
	var listeners []net.Listener
	if settings.HTTPPort != 0 {
		l, err := s.env.Listen(ctx, "tcp4", ":"+strconv.Itoa(settings.HTTPPort))
		if err != nil {
			return nil, fmt.Errorf("http_port: %w", err)
		}
		listeners = append(listeners, l)
	}
	if settings.HTTPSPort != 0 {
		certificate, err := s.certificate()
		if err != nil {
			return nil, err
		}
		l, err := s.env.Listen(ctx, "tcp4", ":"+strconv.Itoa(settings.HTTPSPort))
		if err != nil {
			return nil, fmt.Errorf("https_port: %w", err)
		}
		listeners = append(listeners, tls.NewListener(l, &tls.Config{
			Certificates: []tls.Certificate{certificate},
			NextProtos:   []string{"http/1.1"},
			MinVersion:   tls.VersionTLS12,
		}))
	}
	return listeners, nil
}

// certificate is issued by the lab's authority for the node's name and addresses.
func (s *service) certificate() (tls.Certificate, error) {
	spec := &s.env.Spec
	ips := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, i := range spec.Interfaces {
		ips = append(ips, i.Addr.Addr().AsSlice())
	}
	return ca.Issue(spec.CA, []string{spec.Name, "localhost"}, ips)
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) || r.Header.Get("Sec-WebSocket-Key") != "" {
			s.accept(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "This is %s of the lab %s. It speaks WebSocket: connect to ws:// or wss:// here.\n", s.env.Spec.Name, s.env.Spec.Lab)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return mux
}

// sessions is the parameter of requests about sessions.
type sessions struct {
	IDs []string `json:"ids"`
}

// handle registers what the host may ask; see package control.
func (s *service) handle() {
	s.env.Handle("ledger", decoded(func(p sessions) (any, error) { return s.ledger.entries(p.IDs), nil }))
	s.env.Handle("forget", decoded(func(p sessions) (any, error) {
		s.quiet(p.IDs)
		s.ledger.forget(p.IDs)
		return nil, nil
	}))
	s.env.Handle("quiet", decoded(func(p sessions) (any, error) {
		s.quiet(p.IDs)
		return nil, nil
	}))
	type talk struct {
		sessions
		Interval time.Duration `json:"interval"`
	}
	s.env.Handle("talk", decoded(func(p talk) (any, error) {
		if p.Interval <= 0 {
			return nil, errors.New("talk needs an interval")
		}
		s.talk(p.IDs, s.env.Wall(p.Interval))
		return nil, nil
	}))
}

// decoded is a handler for requests with parameters of type P.
func decoded[P any](f func(P) (any, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(_ context.Context, raw json.RawMessage) (any, error) {
		var p P
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
		return f(p)
	}
}

// talk pushes to these sessions at once and then each interval, until quiet.
func (s *service) talk(ids []string, interval time.Duration) {
	s.quiet(ids)
	for _, id := range ids {
		ctx, cancel := context.WithCancel(s.ctx)
		s.mu.Lock()
		s.talking[id] = cancel
		s.mu.Unlock()
		s.talks.Go(func() {
			defer cancel()
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for {
				s.ledger.push(id, func(seq int64, number int) {
					s.env.Record(trace.Event{Type: trace.ServerPushed, Session: id, Conn: number, Seq: seq})
				})
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
			}
		})
	}
}

func (s *service) quiet(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if cancel, ok := s.talking[id]; ok {
			cancel()
			delete(s.talking, id)
		}
	}
}
