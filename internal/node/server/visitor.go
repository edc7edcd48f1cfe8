package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The cookies of the server. A browser sends them with every request to it, whatever
// page asks for that: this is what makes cross-site WebSocket hijacking possible. (Browsers of
// today leave cookies without SameSite=None out of requests of other sites; a session that works
// across sites, inside a frame or after a login elsewhere, has it.)
const (
	sessionCookie = "wslab_session"
	csrfCookie    = "csrf_token"
)

// How a handshake brings its token: scripts of a page cannot add headers to it.
const (
	csrfParameter   = "csrf_token"
	csrfSubprotocol = "csrf."
)

// userOf returns who is logged in with the request's session cookie, and that cookie.
func (s *service) userOf(r *http.Request) (user, session string) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", ""
	}
	for _, user := range sortedKeys(s.settings.Sessions) {
		if same(s.settings.Sessions[user], cookie.Value) {
			return user, cookie.Value
		}
	}
	return "", ""
}

// tokenOf is the token of a session: it is calculated, so that it outlives a restart, and
// says nothing to who does not know the session.
func tokenOf(session string) string {
	mac := hmac.New(sha256.New, []byte(session))
	_, _ = mac.Write([]byte("csrf token of wslab")) // it never fails
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// same compares without telling by its duration how much is the same.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// given returns the token that a handshake brings, "" if there is none.
func given(r *http.Request, protocols []string) string {
	if token := r.URL.Query().Get(csrfParameter); token != "" {
		return token
	}
	for _, p := range protocols {
		if token, ok := strings.CutPrefix(p, csrfSubprotocol); ok {
			return token
		}
	}
	return ""
}

// checkToken says what is wrong with the token of a handshake, "" if nothing is.
func (s *service) checkToken(r *http.Request, session string, protocols []string) string {
	var want string
	switch s.settings.CSRF {
	case csrfSession:
		want = tokenOf(session)
	case csrfDoubleSubmit:
		cookie, err := r.Cookie(csrfCookie)
		if err != nil || cookie.Value == "" {
			return "there is no cookie " + csrfCookie
		}
		want = cookie.Value
	default:
		return ""
	}
	switch got := given(r, protocols); {
	case got == "":
		return "there is no CSRF token"
	case !same(got, want):
		return "the CSRF token is wrong"
	}
	return ""
}

// page is what a browser is shown. It is also where an honest page gets its token
// from: a page of another origin may send requests here, but not read the answers.
func (s *service) page(w http.ResponseWriter, r *http.Request) {
	user, session := s.userOf(r)
	token := ""
	switch s.settings.CSRF {
	case csrfSession:
		if user != "" {
			token = tokenOf(session)
		}
	case csrfDoubleSubmit:
		if cookie, err := r.Cookie(csrfCookie); err == nil && isToken(cookie.Value) {
			token = cookie.Value
		} else {
			token = strings.ToLower(rand.Text())
			cookie := &http.Cookie{Name: csrfCookie, Value: token, Path: "/"}
			if c, ok := r.Context().Value(connKey{}).(*stream); ok && c.secure != nil {
				cookie.Secure, cookie.SameSite = true, http.SameSiteNoneMode // which needs Secure
			}
			http.SetCookie(w, cookie)
		}
	}
	if token == "" && user == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "This is %s of the lab %s. It speaks WebSocket: connect to ws:// or wss:// here.\n", s.env.Spec.Name, s.env.Spec.Lab)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintf(w, "<!doctype html>\n<title>%s</title>\n", html.EscapeString(s.env.Spec.Name))
	if token != "" {
		_, _ = fmt.Fprintf(w, "<meta name=\"csrf-token\" content=\"%s\">\n", html.EscapeString(token))
	}
	if user != "" {
		_, _ = fmt.Fprintf(w, "<p>You are logged in as %s.\n", html.EscapeString(user))
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
