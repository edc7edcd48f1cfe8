package docker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/client"

	"github.com/wslab/wslab/internal/engine"
)

// fake returns an engine that says of itself what it is told to, and nothing else.
func fake(t *testing.T, api, platform string) *Engine {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", api)
		w.Header().Set("Ostype", platform)
	}))
	t.Cleanup(server.Close)
	e, err := New(Options{Host: strings.Replace(server.URL, "http://", "tcp://", 1)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestProbe(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	e := func(host string) *Engine {
		t.Helper()
		e, err := New(Options{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	refusing, err := client.NewClientWithOpts(
		client.WithHost("unix:///var/run/docker.sock"),
		client.WithDialContext(func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
		}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name            string
		engine          *Engine
		problem, remedy string
	}{
		{"nobody there", e("unix:///nonexistent.sock"),
			"no Docker engine answers at unix:///nonexistent.sock",
			"start the engine there, or correct --docker-host or DOCKER_HOST"},
		{"nobody there by default", &Engine{client: e("unix:///nonexistent.sock").client},
			"no Docker engine answers at unix:///nonexistent.sock", "Docker contexts are not read"},
		{"no permission", &Engine{client: refusing},
			"this user may not use the Docker engine at unix:///var/run/docker.sock", "add the user to the docker group"},
		{"too old", fake(t, "1.40", "linux"), "is too old: its API is 1.40", "upgrade it to Docker 20.10 or later (API 1.41)"},
		{"Windows", fake(t, "1.50", "windows"), "runs windows containers", "switch it to Linux containers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() { _ = tt.engine.Close() }()
			err := tt.engine.Probe(t.Context())
			var unfit *engine.UnfitError
			if !errors.As(err, &unfit) || !strings.Contains(unfit.Problem, tt.problem) || !strings.Contains(unfit.Remedy, tt.remedy) {
				t.Errorf("%v", err)
			}
		})
	}
	newest := fake(t, "1.56", "linux")
	defer func() { _ = newest.Close() }()
	if err := newest.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"ssh://somewhere", "nonsense"} {
		var unfit *engine.UnfitError
		if _, err := New(Options{Host: host}); !errors.As(err, &unfit) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestChecks(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	silent, err := New(Options{Host: "unix:///nonexistent.sock"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		engine      *Engine
		answers     engine.Verdict
		api         engine.Verdict
		found, todo string
	}{
		{"new", fake(t, "1.56", "linux"), engine.OK, engine.OK, "1.56", ""},
		{"too old", fake(t, "1.40", "linux"), engine.OK, engine.Unfit, "is too old: its API is 1.40", "upgrade it to Docker 20.10"},
		{"Windows", fake(t, "1.56", "windows"), engine.Unfit, engine.Untried, "", ""},
		{"nobody there", silent, engine.Unfit, engine.Untried, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() { _ = tt.engine.Close() }()
			checks := tt.engine.Checks(t.Context())
			if len(checks) != 3 {
				t.Fatalf("%+v", checks)
			}
			answers, api, enter := checks[0], checks[1], checks[2]
			if answers.Verdict != tt.answers || api.Verdict != tt.api || !strings.Contains(api.Found, tt.found) || !strings.Contains(api.Remedy, tt.todo) {
				t.Errorf("%+v", checks)
			}
			if tt.answers == engine.Unfit && (answers.Found == "" || answers.Remedy == "") {
				t.Errorf("%+v", answers)
			}
			// None of these is an engine of this machine that could be entered, but the last.
			if tt.engine != silent && enter.Verdict != engine.Lacking {
				t.Errorf("%+v", enter)
			}
		})
	}
}
