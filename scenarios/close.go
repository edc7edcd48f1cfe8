package scenarios

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/wslab/wslab/topology"
)

// Close lets a server close connections with a close frame.
type Close struct {
	Code   int    `json:"code" doc:"The close code: 1000 to 1003, 1007 to 1014, or 3000 to 4999; 0 is a close frame without one." required:"true" min:"0" max:"4999"`
	Reason string `json:"reason" doc:"The reason beside the code, at most 123 bytes."`
	Node   string `json:"node" doc:"The server; every server that has a session if left out."`
	Client string `json:"client" doc:"The strategy whose connection is closed; all if left out."`
}

// String returns the step as in a file.
func (s *Close) String() string {
	text := fmt.Sprintf("close: %d", s.Code)
	if s.Reason != "" {
		text += fmt.Sprintf(" %q", s.Reason)
	}
	return text + of(s.Client, s.Node)
}

// of says whose connections a step means.
func of(client, node string) string {
	text := ""
	if client != "" {
		text += " for " + client
	}
	if node != "" {
		text += " by " + node
	}
	return text
}

func (s *Close) takes() time.Duration { return 0 }
func (s *Close) node() string         { return s.Node }
func (s *Close) short() any           { return &s.Code }

func (s *Close) check(c *stepCheck) {
	c.place("node", s.Node, "closes no connections", isTarget)
	c.strategy("client", s.Client)
	c.closeCode("code", s.Code)
	if len(s.Reason) > 123 || !utf8.ValidString(s.Reason) || s.Code == 0 && s.Reason != "" {
		c.at("reason").Problemf("", "a close frame has room for 123 bytes of UTF-8 beside a code")
	}
}

func (s *Close) play(ctx context.Context, p *branch) error {
	ids := p.idsOf(s.Client)
	if len(ids) == 0 {
		return nil // to a server no name is every one
	}
	return p.atServers(ctx, s.Node, "close", map[string]any{"ids": ids, "code": s.Code, "reason": s.Reason})
}

// closeCode reports a code that is never sent (RFC 6455, section 7.4).
func (c *stepCheck) closeCode(key string, code int) {
	switch {
	case code == 1004 || code == 1005 || code == 1006 || code == 1015:
		c.at(key).Problemf("a close frame without a code is 0; for the end of TCP alone there is on_restart: fin or reset of a server", "code %d is never sent: it is what an end has seen (RFC 6455, section 7.4.1)", code)
	case code != 0 && (code < 1000 || code > 1014 && code < 3000 || code > 4999):
		c.at(key).Problemf("it can be 1000 to 1003, 1007 to 1014, or 3000 to 4999", "%d is no close code (RFC 6455, section 7.4)", code)
	}
}

// strategy reports a strategy that the scenario plays nowhere.
func (c *stepCheck) strategy(key, name string) {
	if name != "" && len(c.clients) > 0 && !slices.Contains(c.clients, name) {
		c.at(key).Problemf(topology.Suggest(name, c.clients), "the scenario expects nothing of a strategy %q", name)
	}
}

func isTarget(k *topology.Kind) bool { return k.Target }

// sessionsOf returns the sessions of a strategy and of the programs that are like it, all if the name is empty.
func (p *player) sessionsOf(client string) []session {
	var found []session
	for _, s := range p.sessions {
		if client == "" || s.strategy == client || s.program != nil && s.program.Like == client {
			found = append(found, s)
		}
	}
	return found
}

// idsOf returns their names.
func (p *player) idsOf(client string) []string {
	var ids []string
	for _, s := range p.sessionsOf(client) {
		ids = append(ids, s.id)
	}
	return ids
}

// atServers asks a server, or all that have accepted a session if the name is empty.
func (p *player) atServers(ctx context.Context, node, method string, params any) error {
	servers := []string{node}
	if node == "" {
		servers = p.up(p.servers())
	}
	for _, server := range servers {
		if err := p.call(ctx, server, method, params, nil); err != nil {
			return err
		}
	}
	return nil
}
