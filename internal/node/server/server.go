// Package server is the server of a lab: WebSocket on a cleartext and a TLS port,
// and a ledger of every session that says what arrived, was lost, and came twice.
package server

import (
	"cmp"
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

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/handshake"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Kind is the server kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:     "server",
			Summary:  "Answers WebSocket clients with the numbered echo and keeps a ledger of every session.",
			Settings: func() any { return newSettings() },
			Target:   true,
			Check:    check,
			Needs:    func(any) topology.Needs { return topology.Needs{CA: true} },
		},
		Run: run,
	}
}

// service is a running server.
type service struct {
	env      *node.Env
	settings Settings
	ctx      context.Context // of the whole run: connections are hijacked from their requests
	ledger   *ledger
	half     halfOpens
	doors    doors

	mu      sync.Mutex
	talking map[string]context.CancelFunc
	talks   sync.WaitGroup
}

func run(ctx context.Context, env *node.Env) error {
	var settings Settings
	if err := env.Settings(&settings); err != nil {
		return err
	}
	settings.MaxMessage = cmp.Or(settings.MaxMessage, defaultMaxMessage)
	// What ends is told first, if the lab file wants it, while everything still works.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s := &service{env: env, settings: settings, ctx: serving, ledger: newLedger(), talking: make(map[string]context.CancelFunc)}
	if err := clearVanishing(); err != nil { // a machine that is back is there for everybody
		return err
	}
	env.OnRestart(s.goDown)
	env.OnRestart(s.losePower)
	s.handle()
	listeners, err := s.listen(ctx, settings)
	if err != nil {
		return err
	}
	s.doors.open(listeners)
	web := &http.Server{
		Handler:           handling(s.routes()),
		ReadHeaderTimeout: headerTimeout + env.Wall(settings.AcceptDelay),
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withStream,
		ConnState:         idle,
		// What fails is recorded where it does.
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
		s.goDown()
		err = nil
	case err = <-errs:
		if s.doors.closed() { // the server goes down, and the process ends or is replaced
			<-ctx.Done()
			err = nil
		}
	}
	stop()
	err = errors.Join(err, s.revive())
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
		listeners = append(listeners, &listener{Listener: l, service: s})
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
		listeners = append(listeners, &listener{Listener: l, service: s, secure: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			NextProtos:   []string{"http/1.1"},
			MinVersion:   tls.VersionTLS12,
		}})
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
		if handshake.FromRequest(r).AsksForWebSocket() {
			s.accept(w, r)
			return
		}
		s.page(w, r)
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
	s.env.Handle("probe", decoded(func(p sessions) (any, error) { return map[string]int{"connections": s.probe(p.IDs)}, nil }))
	type closing struct {
		sessions
		Code   int    `json:"code"`
		Reason string `json:"reason"`
		// Down says that the server goes down next: nobody is let in any more.
		Down bool `json:"down"`
	}
	s.env.Handle("close", decoded(func(p closing) (any, error) {
		if err := checkClose(p.Code, p.Reason); err != nil {
			return nil, err
		}
		if p.Down {
			s.doors.close()
		}
		return map[string]int{"connections": s.closeAll(p.IDs, p.Code, p.Reason)}, nil
	}))
	type half struct {
		sessions
		// How is "hung" or "vanished"; Off ends both.
		How string `json:"how"`
		Off bool   `json:"off"`
	}
	s.env.Handle("half-open", decoded(func(p half) (any, error) {
		if p.Off {
			return nil, s.revive()
		}
		n, err := s.halfOpen(p.IDs, p.How)
		return map[string]int{"connections": n}, err
	}))
	type talk struct {
		sessions
		Interval time.Duration `json:"interval"`
		// Size is how many bytes each push has beyond its number.
		Size int `json:"size"`
	}
	s.env.Handle("talk", decoded(func(p talk) (any, error) {
		if p.Interval <= 0 {
			return nil, errors.New("talk needs an interval")
		}
		if p.Size < 0 || p.Size > mostPadding {
			return nil, fmt.Errorf("a push can have 0 to %d bytes more, not %d", mostPadding, p.Size)
		}
		s.talk(p.IDs, s.env.Wall(p.Interval), p.Size)
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

// mostPadding bounds how many bytes a push has beyond its number.
const mostPadding = 256 << 10

// talk pushes to these sessions at once and then each interval, until quiet.
func (s *service) talk(ids []string, interval time.Duration, size int) {
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
				s.ledger.push(id, size, func(seq int64, number int) {
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
