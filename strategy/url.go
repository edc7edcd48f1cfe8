package strategy

import (
	"fmt"
	"net"
	"net/url"
)

// URL returns the URL that the strategy connects to when it is asked to connect to
// raw: ForceWSS turns ws:// into wss://, StandardPorts drops the port, so that the
// scheme's own is used (443 or 80), which firewalls let pass. It is an error if
// raw is not a ws:// or wss:// URL, or has a fragment (RFC 6455, section 3).
func (s Strategy) URL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("WebSocket URL: %w", err)
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return "", fmt.Errorf("WebSocket URL %q does not begin with ws:// or wss://", raw)
	case u.Hostname() == "":
		return "", fmt.Errorf("WebSocket URL %q names no host", raw)
	case u.Fragment != "":
		return "", fmt.Errorf("WebSocket URL %q has a fragment, which has no meaning there", raw)
	}
	if s.ForceWSS && u.Scheme == "ws" {
		u.Scheme = "wss"
		if u.Port() == "80" {
			dropPort(u)
		}
	}
	if s.StandardPorts {
		dropPort(u)
	}
	return u.String(), nil
}

// URLs returns the URLs that the strategy connects to in turn, for [Alternate]: that of [Strategy.URL] and, with an
// [AdaptiveReconnect], the one it was asked for where that is another. What was asked for as wss:// is never
// connected to in the clear.
func (s Strategy) URLs(raw string) ([]string, error) {
	first, err := s.URL(raw)
	if err != nil {
		return nil, err
	}
	given, err := Strategy{}.URL(raw)
	if err != nil {
		return nil, err
	}
	if s.Reconnect == nil || s.Reconnect.Adaptive == nil || given == first {
		return []string{first}, nil
	}
	return []string{first, given}, nil
}

// dropPort removes the port of a URL and keeps the brackets of an IPv6 address.
func dropPort(u *url.URL) {
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	u.Host = host
}
