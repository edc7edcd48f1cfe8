package scenarios

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Contract is what a program is told: the environment of docs/clients.md. The variables that
// name the lab's certificate authority are added by who starts the program.
type Contract struct {
	// URL to connect to, with the session in its query.
	URL string
	// Proxy is the URL of the forward proxy to go through, with its credentials; empty for none.
	Proxy string
	// Session is what the nodes call the client.
	Session string
	// Duration is how long the play takes at most, in wall time.
	Duration time.Duration
	// Speed by which the play is faster than real time.
	Speed float64
}

// proxyVariables are where programs look for a proxy. curl knows http_proxy in small letters
// alone, and python3-websockets of today looks at socks_proxy, too.
var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}

// Environ returns the contract as environment variables. Where there is no proxy the variables are
// set and empty: those of the user's own environment are about another network.
func (c Contract) Environ() []string {
	env := []string{
		"WSLAB_URL=" + c.URL,
		"WSLAB_SESSION=" + c.Session,
		"WSLAB_DURATION=" + strconv.FormatFloat(c.Duration.Seconds(), 'f', -1, 64),
		"WSLAB_SPEED=" + strconv.FormatFloat(c.Speed, 'f', -1, 64),
	}
	for _, name := range proxyVariables {
		env = append(env, name+"="+c.Proxy)
	}
	socks, not := "", ""
	if strings.HasPrefix(c.Proxy, "socks") {
		socks = c.Proxy
	}
	if c.Proxy != "" {
		not = "localhost,127.0.0.1"
	}
	return append(env, "socks_proxy="+socks, "NO_PROXY="+not, "no_proxy="+not)
}

// route is a client's way to the server.
type route struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Proxy string `json:"proxy"`
}

// route is the way that the play takes.
func (p *player) route() (route, error) {
	spec, _ := p.plan.Node(p.client)
	var settings struct {
		Paths []route `json:"paths"`
	}
	if err := json.Unmarshal(spec.Settings, &settings); err != nil {
		return route{}, fmt.Errorf("settings of node %s: %w", p.client, err)
	}
	for _, way := range settings.Paths {
		if way.Name == p.path {
			return way, nil
		}
	}
	return route{}, fmt.Errorf("node %s has no way %s", p.client, p.path)
}

// forward is the proxy that clients are to go through, if it is one that records what it is asked.
func (p *player) forward() string {
	way, err := p.route()
	if n, ok := p.plan.Node(way.Name); err == nil && ok && way.Proxy != "" && n.Kind == "proxy" {
		return n.Name
	}
	return ""
}

// contract is that of a session.
func (p *player) contract(s session) (Contract, error) {
	way, err := p.route()
	if err != nil {
		return Contract{}, err
	}
	target, err := url.Parse(way.URL)
	if err != nil {
		return Contract{}, fmt.Errorf("way %s of node %s: %w", way.Name, p.client, err)
	}
	query := target.Query()
	query.Set("session", s.id)
	query.Set("witness", "1")
	target.RawQuery = query.Encode()
	return Contract{
		URL:      target.String(),
		Proxy:    way.Proxy,
		Session:  s.id,
		Duration: p.wall(p.play.Scenario.Duration()) + programMargin,
		Speed:    p.plan.Speed,
	}, nil
}
