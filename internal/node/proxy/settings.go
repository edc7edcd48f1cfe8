package proxy

import (
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// The protocols that a proxy speaks.
const (
	protocolHTTP      = "http"
	protocolIntercept = "intercept"
	protocolSOCKS5    = "socks5"
	protocolReverse   = "reverse"
)

// cleartextPort is where a reverse proxy takes ws and http besides its own port.
const cleartextPort = 80

// Settings of a proxy in a lab file. The tag "for" names the protocols that a key, or
// an embedded struct of keys, is for; without it they are for all.
type Settings struct {
	Protocol     string            `json:"protocol" doc:"What the proxy speaks: http (CONNECT and forwarding), intercept (as http, but it opens TLS), socks5, or reverse (it stands in for the server)." enum:"http,intercept,socks5,reverse" required:"true"`
	Port         int               `json:"port" doc:"Port that it listens on; 0 is the protocol's own: 3128 for http and intercept, 1080 for socks5, 443 for reverse, which takes ws on 80 besides." min:"0" max:"65535"`
	AllowConnect []int             `json:"allow_connect" for:"http,intercept" doc:"Ports that CONNECT may go to (protocols http and intercept); others are answered with 403." min:"1" max:"65535"`
	Users        map[string]string `json:"users" for:"http,intercept,socks5" doc:"Passwords of the users that it knows (protocols http, intercept and socks5); without any it asks nobody."`
	IdleTimeout  time.Duration     `json:"idle_timeout" doc:"Closes a connection after this much silence in both directions; 0 never does. TCP keepalive does not count." min:"0s"`

	HTTPSettings      `for:"http,intercept"`
	InterceptSettings `for:"intercept"`
	ConnectSettings
	SOCKS5Settings  `for:"socks5"`
	ReverseSettings `for:"reverse"`
	UpgradeSettings `for:"http,intercept,reverse"`
}

func newSettings() *Settings {
	return &Settings{
		AllowConnect:      []int{443},
		HTTPSettings:      newHTTPSettings(),
		InterceptSettings: newInterceptSettings(),
		SOCKS5Settings:    newSOCKS5Settings(),
		ReverseSettings:   newReverseSettings(),
	}
}

// PassageUsers returns the names of the users that the proxy knows, in order.
func (s *Settings) PassageUsers() []string { return slices.Sorted(maps.Keys(s.Users)) }

// ListenPort is the port that the proxy listens on.
func (s *Settings) ListenPort() int {
	if s.Port != 0 {
		return s.Port
	}
	switch s.Protocol {
	case protocolHTTP, protocolIntercept:
		return 3128
	case protocolSOCKS5:
		return 1080
	}
	if !s.ClientTLS {
		return cleartextPort
	}
	return 443
}

// Reverse says whether the proxy stands in for the server, so that clients connect to
// it and not through it.
func (s *Settings) Reverse() bool { return s.Protocol == protocolReverse }

// URL is how a client writes the proxy down, as in "http://alice:secret@http-proxy:3128";
// node is the proxy's name, user may be empty. For a reverse proxy it is the URL that
// clients connect to instead of the server's, as in "wss://app-proxy/".
func (s *Settings) URL(node, user string) string {
	scheme := s.Protocol
	if s.Protocol == protocolIntercept {
		scheme = protocolHTTP // what it does inside, no client writes down
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(node, strconv.Itoa(s.ListenPort()))}
	if s.Reverse() {
		u.Scheme, u.Path = "wss", "/"
		standard := 443
		if !s.ClientTLS {
			u.Scheme, standard = "ws", cleartextPort
		}
		if s.ListenPort() == standard {
			u.Host = node
		}
		return u.String()
	}
	if user != "" {
		u.User = url.UserPassword(user, s.Users[user])
	}
	return u.String()
}

// belongs says which protocols a key is for; keys that are not there are for all.
func belongs() map[string][]string {
	protocols := make(map[string][]string)
	settings := reflect.TypeFor[Settings]()
	for i := range settings.NumField() {
		field := settings.Field(i)
		only := field.Tag.Get("for")
		if only == "" {
			continue
		}
		names := []string{field.Tag.Get("json")}
		if field.Anonymous {
			names = nil
			for _, k := range topology.Keys(reflect.New(field.Type).Interface()) {
				names = append(names, k.Name)
			}
		}
		for _, name := range names {
			protocols[name] = strings.Split(only, ",")
		}
	}
	return protocols
}

// needsCA says whether the proxy shows certificates of the lab's, or may once a scenario
// changes how its portal answers.
func (s *Settings) needsCA() bool {
	return s.Reverse() || s.Protocol == protocolIntercept || s.speaksHTTP() && s.Captive != captiveOff
}

// speaksHTTP says whether clients ask the proxy with HTTP where to go.
func (s *Settings) speaksHTTP() bool {
	return s.Protocol == protocolHTTP || s.Protocol == protocolIntercept
}

// check reports what is wrong with a proxy beyond its single keys.
func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	if !slices.Contains([]string{protocolHTTP, protocolIntercept, protocolSOCKS5, protocolReverse}, s.Protocol) {
		return // reported by the key itself
	}
	if p := c.Node.Preset; p != nil && p.Settings.Get("protocol") != nil && p.Settings.Get("protocol").Text() != s.Protocol {
		c.Problemf("protocol", "leave the key out", "preset %s is a proxy of protocol %s", p.Name, p.Settings.Get("protocol").Text())
		return
	}
	only := belongs()
	for _, key := range slices.Sorted(maps.Keys(only)) {
		if c.InFile(key) && !slices.Contains(only[key], s.Protocol) {
			c.Problemf(key, "", "%s is not for a proxy of protocol %s", key, s.Protocol)
		}
	}
	checkUsers(c, s)
	if s.speaksHTTP() {
		checkHTTP(c, s)
	}
	if s.Protocol == protocolIntercept {
		checkIntercept(c, s)
	}
	if s.Protocol == protocolSOCKS5 {
		checkSOCKS5(c, s)
	}
	if s.Reverse() {
		checkReverse(c, s)
	}
}

// checkUsers refuses what the protocols cannot carry: RFC 7617 section 2 has no colon
// in a name, RFC 1929 section 2 has names and passwords of 1 to 255 bytes.
func checkUsers(c *topology.NodeCheck, s *Settings) {
	for _, name := range s.PassageUsers() {
		password := s.Users[name]
		switch {
		case s.speaksHTTP() && slices.Contains([]byte(name), ':'):
			c.Problemf("users", "", "user %q has a colon in its name, which Basic authentication cannot carry", name)
		case s.Protocol == protocolSOCKS5 && (len(name) == 0 || len(name) > 255 || len(password) == 0 || len(password) > 255):
			c.Problemf("users", "", "user %q: SOCKS5 carries names and passwords of 1 to 255 bytes", name)
		}
	}
}
