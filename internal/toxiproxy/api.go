// Package toxiproxy answers Toxiproxy's HTTP API for the toxics of a running lab, so
// that toxiproxy-cli and the Toxiproxy clients of every language work on it unchanged.
//
// Each node that carries streams is a proxy of that API, by its name. Proxies come
// from the lab file: they cannot be created, moved or deleted here; a disabled one resets
// the connections that it has and those that come. Times are in milliseconds of
// lab time (slicer's delay in microseconds), as Toxiproxy has them.
//
// The API is that of Toxiproxy 2.12.0 (api.go and toxic_collection.go there).
package toxiproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wslab/wslab/topology"
)

// Version of Toxiproxy whose API this is.
const Version = "2.12.0"

// disabled is the toxic that makes a proxy a disabled one. It is not shown.
const disabled = "wslab_disabled"

// bodyLimit bounds the body of a request.
const bodyLimit = 1 << 20

// Lab is a running lab: it asks a node something. An error that wraps
// [*control.RemoteError] is the node's own answer.
type Lab interface {
	Call(ctx context.Context, node, method string, params, result any) error
}

// Proxy is a node that carries streams.
type Proxy struct {
	// Name of the node.
	Name string
	// Listen is where it takes connections, Upstream where they lead; both are shown only.
	Listen, Upstream string
}

// api answers requests.
type api struct {
	lab     Lab
	proxies []Proxy
	types   []*topology.ToxicType
}

// Handler returns what answers the API for the proxies of a lab.
func Handler(lab Lab, proxies []Proxy, types []*topology.ToxicType) http.Handler {
	a := &api{lab, proxies, types}
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (int, any, error){
		"GET /version":                           a.version,
		"POST /reset":                            a.reset,
		"POST /populate":                         a.populate,
		"GET /proxies":                           a.proxyIndex,
		"POST /proxies":                          a.proxyCreate,
		"GET /proxies/{proxy}":                   a.proxyShow,
		"POST /proxies/{proxy}":                  a.proxyUpdate,
		"PATCH /proxies/{proxy}":                 a.proxyUpdate,
		"DELETE /proxies/{proxy}":                a.proxyDelete,
		"GET /proxies/{proxy}/toxics":            a.toxicIndex,
		"POST /proxies/{proxy}/toxics":           a.toxicCreate,
		"GET /proxies/{proxy}/toxics/{toxic}":    a.toxicShow,
		"POST /proxies/{proxy}/toxics/{toxic}":   a.toxicUpdate,
		"PATCH /proxies/{proxy}/toxics/{toxic}":  a.toxicUpdate,
		"DELETE /proxies/{proxy}/toxics/{toxic}": a.toxicDelete,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
			status, body, err := answer(r)
			reply(w, status, body, err)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As Toxiproxy: pages that a browser shows must not reach it.
		if strings.HasPrefix(r.UserAgent(), "Mozilla/") {
			http.Error(w, "User agent not allowed", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// apiError is an error as the API has it.
type apiError struct {
	Message string `json:"error"`
	Status  int    `json:"status"`
}

func (e *apiError) Error() string { return e.Message }

func errorf(status int, format string, args ...any) *apiError {
	return &apiError{fmt.Sprintf(format, args...), status}
}

func reply(w http.ResponseWriter, status int, body any, err error) {
	if err != nil {
		failed := new(apiError)
		if !errors.As(err, &failed) {
			failed = errorf(http.StatusInternalServerError, "%v", err)
		}
		status, body = failed.Status, failed
	}
	if body == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client has gone
}

func decode(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return errorf(http.StatusBadRequest, "bad request body: %v", err)
	}
	return nil
}

func (a *api) version(*http.Request) (int, any, error) {
	return http.StatusOK, map[string]string{"version": Version}, nil
}

// proxy returns the proxy that a request names.
func (a *api) proxy(name string) (Proxy, error) {
	i := slices.IndexFunc(a.proxies, func(p Proxy) bool { return p.Name == name })
	if i < 0 {
		return Proxy{}, errorf(http.StatusNotFound, "proxy not found")
	}
	return a.proxies[i], nil
}

// shown is a proxy as the API has it.
type shown struct {
	Name     string  `json:"name"`
	Listen   string  `json:"listen"`
	Upstream string  `json:"upstream"`
	Enabled  bool    `json:"enabled"`
	Toxics   []toxic `json:"toxics"`
}

func (a *api) show(ctx context.Context, p Proxy) (shown, error) {
	list, enabled, err := a.toxics(ctx, p.Name)
	return shown{p.Name, p.Listen, p.Upstream, enabled, list}, err
}

func (a *api) proxyIndex(r *http.Request) (int, any, error) {
	all := make(map[string]shown, len(a.proxies))
	for _, p := range a.proxies {
		s, err := a.show(r.Context(), p)
		if err != nil {
			return 0, nil, err
		}
		all[p.Name] = s
	}
	return http.StatusOK, all, nil
}

func (a *api) proxyShow(r *http.Request) (int, any, error) {
	p, err := a.proxy(r.PathValue("proxy"))
	if err != nil {
		return 0, nil, err
	}
	s, err := a.show(r.Context(), p)
	return http.StatusOK, s, err
}

// wanted is a proxy as a client asks for it.
type wanted struct {
	Name     string `json:"name"`
	Listen   string `json:"listen"`
	Upstream string `json:"upstream"`
	Enabled  *bool  `json:"enabled"`
}

// fromFile refuses what only the lab file can change.
func fromFile(what string) error {
	return errorf(http.StatusBadRequest, "%s: the proxies of a lab are its nodes; change the lab file and run wslab up", what)
}

func (a *api) proxyCreate(r *http.Request) (int, any, error) {
	var w wanted
	if err := decode(r, &w); err != nil {
		return 0, nil, err
	}
	switch _, err := a.proxy(w.Name); {
	case w.Name == "":
		return 0, nil, errorf(http.StatusBadRequest, "missing required field: name")
	case w.Upstream == "":
		return 0, nil, errorf(http.StatusBadRequest, "missing required field: upstream")
	case err == nil:
		return 0, nil, errorf(http.StatusConflict, "proxy already exists")
	}
	return 0, nil, fromFile("cannot create proxy " + w.Name)
}

func (a *api) proxyDelete(r *http.Request) (int, any, error) {
	p, err := a.proxy(r.PathValue("proxy"))
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, fromFile("cannot delete proxy " + p.Name)
}

func (a *api) proxyUpdate(r *http.Request) (int, any, error) {
	p, err := a.proxy(r.PathValue("proxy"))
	if err != nil {
		return 0, nil, err
	}
	var w wanted
	if err := decode(r, &w); err != nil {
		return 0, nil, err
	}
	if err := a.change(r.Context(), p, w); err != nil {
		return 0, nil, err
	}
	s, err := a.show(r.Context(), p)
	return http.StatusOK, s, err
}

// change makes a proxy what is wanted, as far as that is no business of the lab file's.
func (a *api) change(ctx context.Context, p Proxy, w wanted) error {
	if (w.Listen != "" && w.Listen != p.Listen) || (w.Upstream != "" && w.Upstream != p.Upstream) {
		return fromFile("cannot move proxy " + p.Name)
	}
	if w.Enabled == nil {
		return nil
	}
	_, enabled, err := a.toxics(ctx, p.Name)
	switch {
	case err != nil || *w.Enabled == enabled:
		return err
	case *w.Enabled:
		return a.lab.Call(ctx, p.Name, "toxic.remove", map[string]string{"name": disabled}, nil)
	}
	off := topology.ToxicSpec{Name: disabled, Type: "reset", Toxicity: 1}
	return a.lab.Call(ctx, p.Name, "toxic.add", off, nil)
}

// populate sees to it that proxies are there: those of the lab are.
func (a *api) populate(r *http.Request) (int, any, error) {
	var list []wanted
	if err := decode(r, &list); err != nil {
		return 0, nil, err
	}
	done := []shown{}
	for _, w := range list {
		p, err := a.proxy(w.Name)
		if err != nil {
			return 0, nil, fromFile("cannot create proxy " + w.Name)
		}
		w.Listen, w.Upstream = "", "" // they name a place outside of the lab
		if w.Enabled == nil {
			w.Enabled = new(bool)
			*w.Enabled = true
		}
		if err := a.change(r.Context(), p, w); err != nil {
			return 0, nil, err
		}
		s, err := a.show(r.Context(), p)
		if err != nil {
			return 0, nil, err
		}
		done = append(done, s)
	}
	return http.StatusCreated, map[string][]shown{"proxies": done}, nil
}

// reset enables all proxies and removes all toxics.
func (a *api) reset(r *http.Request) (int, any, error) {
	for _, p := range a.proxies {
		var list []topology.ToxicSpec
		if err := a.lab.Call(r.Context(), p.Name, "toxic.list", struct{}{}, &list); err != nil {
			return 0, nil, err
		}
		for _, t := range list {
			if err := a.lab.Call(r.Context(), p.Name, "toxic.remove", map[string]string{"name": t.Name}, nil); err != nil {
				return 0, nil, err
			}
		}
	}
	return http.StatusNoContent, nil, nil
}
