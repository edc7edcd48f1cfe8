package proxy

// UpgradeSettings are what proxies have that read requests.
type UpgradeSettings struct {
	Upgrade string `json:"upgrade,omitempty" doc:"Whether it passes Upgrade on (pass, which a reverse proxy does unless it is told otherwise), or strips it (protocols http, intercept and reverse). Requests that are forwarded lose it (strip) unless it is pass, as with Squid without http_upgrade_request_protocols; nginx strips it without its proxy_set_header lines. The server then sees an ordinary request and answers 200, 400 or 426. CONNECT is not concerned." enum:"pass,strip"`
}

const strip = "strip"

// strips says whether the proxy takes Upgrade out of requests.
func (s *Settings) strips() bool {
	if s.Upgrade == "" {
		return !s.Reverse()
	}
	return s.Upgrade == strip
}
