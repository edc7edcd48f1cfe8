package firewall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// What happens to a stream in which something was found, beside Drop and Reset. Drop
// swallows what the client sends from there on, its end included, while the server still
// gets through to the client; Reset sends a RST to both ends.
const (
	// Pass lets a stream through.
	Pass = "pass"
	// BlackHole takes away every packet of the connection from then on, both ways.
	BlackHole = "black-hole"
	// Slow lets a stream through within limits.
	Slow = "slow"
)

// Inspection says what is done about what is found in a stream. The first thing that
// is found and not passed decides, and stays with the connection.
type Inspection struct {
	WebSocket     string        `json:"websocket" doc:"A cleartext request to upgrade to WebSocket, the first of a stream or a later one: it passes; what the client sends from there on vanishes (drop); every packet both ways does (black-hole); both ends get a RST; or the connection is only slow." enum:"pass,drop,black-hole,reset,slow"`
	PlainHTTP     string        `json:"plain_http" doc:"HTTP without TLS to a port that is for TLS (tls_ports)." enum:"pass,drop,black-hole,reset,slow"`
	Connect       string        `json:"connect" doc:"A cleartext CONNECT request, which asks a proxy for a tunnel. One that passes is looked into." enum:"pass,drop,black-hole,reset,slow"`
	TLSServerName []ServerNames `json:"tls_server_name,omitempty" doc:"The server name in the first message of TLS (SNI), in order: the first entry with the name decides."`
	TLSPorts      []int         `json:"tls_ports" doc:"The ports that plain_http is about." min:"1" max:"65535"`
	Slow          Limits        `json:"slow" doc:"How slow a connection is that an inspection slows."`
}

// ServerNames says what is done about some server names of TLS.
type ServerNames struct {
	Names  []string `json:"names" doc:"Names such as chat.example; *.example stands for every name below example, * for every stream of TLS, one without a name included." required:"true"`
	Action string   `json:"action" doc:"As in websocket." enum:"pass,drop,black-hole,reset,slow" required:"true"`
}

// Limits of a connection that is slowed.
type Limits struct {
	Bandwidth int64         `json:"bandwidth" doc:"Bytes a second in each direction; 0 is no limit." min:"0"`
	Delay     time.Duration `json:"delay" doc:"How much later everything arrives, in each direction."`
}

func defaultInspection() Inspection {
	return Inspection{WebSocket: Pass, PlainHTTP: Pass, Connect: Pass, TLSPorts: []int{443}, Slow: Limits{Bandwidth: 1000}}
}

// active says whether there is anything to look for.
func (i Inspection) active() bool {
	acts := func(action string) bool { return action != "" && action != Pass }
	return acts(i.WebSocket) || acts(i.PlainHTTP) || acts(i.Connect) ||
		slices.ContainsFunc(i.TLSServerName, func(n ServerNames) bool { return acts(n.Action) })
}

// check reports what no stream can have.
func (i Inspection) check(c *topology.NodeCheck) {
	for n, entry := range i.TLSServerName {
		if len(entry.Names) == 0 {
			c.Problemf(fmt.Sprintf("inspect.tls_server_name[%d].names", n), "such as [chat.example, \"*.example\"]", "which server names?")
		}
		for k, name := range entry.Names {
			if !validPattern(name) {
				c.Problemf(fmt.Sprintf("inspect.tls_server_name[%d].names[%d]", n, k), "chat.example, *.example and * are understood", "%q is no server name", name)
			}
		}
	}
	if slices.Contains(i.actions(), Slow) && i.Slow == (Limits{}) {
		c.Problemf("inspect.slow", "give it a bandwidth or a delay", "what is slow has no limits")
	}
}

// actions are those of all entries.
func (i Inspection) actions() []string {
	all := []string{i.WebSocket, i.PlainHTTP, i.Connect}
	for _, n := range i.TLSServerName {
		all = append(all, n.Action)
	}
	return all
}

// validPattern says whether a text is a host name (RFC 1123, section 2.1), or one that
// begins with "*.", or "*".
func validPattern(text string) bool {
	if text == "*" {
		return true
	}
	text = strings.TrimPrefix(text, "*.")
	if text == "" || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		ok := strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
		if label == "" || len(label) > 63 || !ok {
			return false
		}
	}
	return true
}

// finding is a thing that can be found in a stream.
type finding string

// What can be found, as the keys of a lab file call it.
const (
	webSocket     finding = "websocket"
	plainHTTP     finding = "plain_http"
	connect       finding = "connect"
	tlsServerName finding = "tls_server_name"
)

// treatment is what is to be done with a stream: the action, and the rule that says so.
type treatment struct{ action, rule string }

// treat returns what is to be done about a finding on a connection to a port. name is
// the server name of TLS, "" where there is none.
func (i Inspection) treat(f finding, port uint16, name string) treatment {
	switch f {
	case webSocket:
		return i.because(f, i.WebSocket)
	case connect:
		return i.because(f, i.Connect)
	case plainHTTP:
		if slices.Contains(i.TLSPorts, int(port)) {
			return i.because(f, i.PlainHTTP)
		}
	case tlsServerName:
		for _, entry := range i.TLSServerName {
			if slices.ContainsFunc(entry.Names, func(pattern string) bool { return matches(pattern, name) }) {
				t := i.because(f, entry.Action)
				if name != "" {
					t.rule += ", " + name
				}
				return t
			}
		}
	}
	return treatment{action: Pass}
}

func (Inspection) because(f finding, action string) treatment {
	return treatment{action, fmt.Sprintf("inspect.%s: %s", f, action)}
}

// matches says whether a pattern stands for a server name. Names are compared without
// regard to case (RFC 6066, section 3).
func matches(pattern, name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	pattern = strings.ToLower(pattern)
	if below, ok := strings.CutPrefix(pattern, "*."); ok {
		return len(name) > len(below)+1 && strings.HasSuffix(name, "."+below)
	}
	return pattern == "*" || pattern == name
}
