package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
)

// login is the state of the authentication of a connection (auth: ntlm and negotiate). RFC 4559
// section 6 says of it that it is the connection's, against all that HTTP otherwise is.
type login struct {
	// user that the connection belongs to, from the third message on.
	user string
	// challenge of the second message, nil before it.
	challenge []byte
}

// authorize asks for a name and a password if the proxy knows users.
func (h *httpClient) authorize(r *request) *refusal {
	if len(h.settings.Users) == 0 {
		return nil
	}
	var no *refusal
	switch h.settings.Auth {
	case authNTLM:
		no = h.authorizeConnection(r, "NTLM")
	case authNegotiate:
		no = h.authorizeConnection(r, "Negotiate")
	default:
		no = h.authorizeRequest(r)
	}
	if no != nil {
		// A client tries again on the connection: Squid leaves it open as well, and NTLM rests on it.
		no.keep = true
	}
	return no
}

// authorizeRequest is Basic authentication (RFC 7617).
func (h *httpClient) authorizeRequest(r *request) *refusal {
	basic := http.Request{Header: http.Header{"Authorization": r.values("Proxy-Authorization")}}
	name, password, ok := basic.BasicAuth()
	var no *refusal
	switch {
	case ok && h.knows(name, password):
		return nil
	case ok:
		no = refuse(http.StatusProxyAuthRequired, "wrong name or password for user %q", name)
	case len(r.get("Proxy-Authorization")) >= len("Basic ") && strings.EqualFold(r.get("Proxy-Authorization")[:len("Basic ")], "Basic "):
		no = refuse(http.StatusProxyAuthRequired, "the credentials are not NAME:PASSWORD in base64")
	case r.get("Proxy-Authorization") != "":
		no = refuse(http.StatusProxyAuthRequired, "only Basic authentication is understood")
	default:
		no = refuse(http.StatusProxyAuthRequired, "no credentials were sent")
	}
	no.by = "users"
	no.header.Set("Proxy-Authenticate", `Basic realm="`+h.env.Spec.Name+`", charset="UTF-8"`)
	return no
}

// authorizeConnection takes the client through the three messages of NTLM ([MS-NTHT]): it says who it
// is about to be, is given a challenge, and answers it, all on one connection. After that no
// request on the connection is asked again; on another one all begins anew.
func (h *httpClient) authorizeConnection(r *request, scheme string) *refusal {
	if h.login.user != "" {
		return nil
	}
	challenge := h.login.challenge
	h.login.challenge = nil // it holds for the next message only
	again := func(format string, args ...any) *refusal {
		no := refuse(http.StatusProxyAuthRequired, format, args...)
		no.by = "auth"
		no.header.Set("Proxy-Authenticate", scheme)
		return no
	}
	sent, text, _ := strings.Cut(r.get("Proxy-Authorization"), " ")
	switch {
	case sent == "":
		return again("the client sent no credentials, the proxy takes %s", scheme)
	case !strings.EqualFold(sent, scheme):
		return again("the client sent %.20q credentials, the proxy takes %s only", sent, scheme)
	}
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return again("the %s token is no base64", scheme)
	}
	message, err := parseNTLM(token)
	if err != nil {
		return again("the %s token is none: %v", scheme, err)
	}
	switch {
	case message.kind == ntlmNegotiate:
		h.login.challenge = make([]byte, 8)
		_, _ = rand.Read(h.login.challenge) // it does not fail
		no := again("%s: a challenge was sent, to be answered on this connection", scheme)
		no.header.Set("Proxy-Authenticate", scheme+" "+
			base64.StdEncoding.EncodeToString(ntlmChallengeMessage(h.login.challenge, h.env.Spec.Name, message.flags)))
		return no
	case challenge == nil:
		return again("%s: an answer on a connection that had no challenge", scheme)
	}
	password, known := h.settings.Users[message.user]
	if !message.proves(password, challenge) || !known {
		return again("%s: wrong name or password for user %q", scheme, message.user)
	}
	h.login.user = message.user
	return nil
}

// knows says whether the password is that of the user.
func (p *proxy) knows(name, password string) bool {
	want, ok := p.settings.Users[name]
	w, g := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(w[:], g[:]) == 1 && ok
}
