package proxy

import (
	"bufio"
	"bytes"
	"container/list"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// cache is a shared cache of responses (RFC 9111). It is safe for concurrent use.
type cache struct {
	entries, bytes int
	// speed of lab time.
	speed float64

	mu    sync.Mutex
	used  int
	order *list.List // of *stored, the one used last in front
	byURL map[string][]*list.Element
}

// stored is a response in the cache. It does not change.
type stored struct {
	url string
	// vary names the fields of requests that chose it, asked what they held.
	vary, asked []string
	answer      *response
	content     []byte
	// at is when it came, born how old it was then, and lifetime how old it may become;
	// the last two in lab time.
	at             time.Time
	born, lifetime time.Duration
}

func (s *stored) size() int {
	n := len(s.content) + len(s.url)
	for _, f := range s.answer.fields {
		n += len(f.name) + len(f.value)
	}
	return n + 256 // what it takes to keep it
}

func newCache(entries, bytes int, speed float64) *cache {
	return &cache{entries: entries, bytes: bytes, speed: speed, order: list.New(), byURL: make(map[string][]*list.Element)}
}

// lookup is what a cache knows about a request.
type lookup struct {
	url string
	// hit is what answers it, age its age in lab time.
	hit *stored
	age time.Duration
	// miss says why it has to be sent on, in the words of RFC 9211 section 2.2.
	miss string
	// only: it is not to be sent on.
	only bool
	// unfit: its answer is not to be stored.
	unfit bool
}

// directives are those of Cache-Control, in lower case, with their arguments.
func (h *head) directives() map[string]string {
	all := make(map[string]string)
	for _, t := range h.tokens("Cache-Control") {
		name, argument, _ := strings.Cut(t, "=")
		all[strings.TrimSpace(name)] = strings.Trim(argument, "\" ")
	}
	return all
}

// deltaSeconds reads delta-seconds (RFC 9111 section 1.2.2): what is too large is very large.
func deltaSeconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(n, 1<<31)) * time.Second, true
}

// look looks a request up.
func (c *cache) look(r *request, url string) lookup {
	at := lookup{url: url, miss: "uri-miss"}
	if r.method != http.MethodGet && r.method != http.MethodHead {
		at.miss, at.unfit = "method", true
		return at
	}
	wants := r.directives()
	_, at.only = wants["only-if-cached"]
	_, at.unfit = wants["no-store"]
	at.unfit = at.unfit || r.method == http.MethodHead || r.has("Range") || r.has("Authorization") || r.upgrades()
	// What is asked under conditions is the server's to answer.
	if at.unfit && r.method != http.MethodHead || slices.ContainsFunc(r.fields, func(f field) bool { return strings.HasPrefix(strings.ToLower(f.name), "if-") }) {
		at.miss = "request"
		at.unfit = true
		return at
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.byURL[url] {
		s := e.Value.(*stored)
		if !s.fits(r) {
			at.miss = "vary-miss"
			continue
		}
		age := c.age(s)
		if !fresh(s, age, wants, r) {
			at.miss = "stale"
			if age < s.lifetime {
				at.miss = "request"
			}
			return at
		}
		c.order.MoveToFront(e)
		at.hit, at.age = s, age
		return at
	}
	return at
}

// fits says whether a response was chosen by what this request holds as well (RFC 9111 section 4.1).
func (s *stored) fits(r *request) bool {
	for i, name := range s.vary {
		if r.joined(name) != s.asked[i] {
			return false
		}
	}
	return true
}

// age of a response in lab time (RFC 9111 section 4.2.3).
func (c *cache) age(s *stored) time.Duration {
	return s.born + time.Duration(float64(time.Since(s.at))*c.speed)
}

// fresh says whether the response may answer, given what the request wants.
func fresh(s *stored, age time.Duration, wants map[string]string, r *request) bool {
	if _, no := wants["no-cache"]; no || len(wants) == 0 && r.hasToken("Pragma", "no-cache") {
		return false
	}
	lifetime := s.lifetime
	if most, ok := deltaSeconds(wants["max-age"]); ok {
		lifetime = min(lifetime, most)
	}
	if spare, ok := deltaSeconds(wants["min-fresh"]); ok {
		lifetime -= spare
	}
	return age < lifetime
}

// statuses that are stored.
var storable = []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}

// lifetime of a response (RFC 9111 section 4.2.1). There is no heuristic: a response that does
// not say how long it lives is not stored.
func (r *response) lifetime(has map[string]string) time.Duration {
	for _, name := range []string{"s-maxage", "max-age"} {
		if text, ok := has[name]; ok {
			d, _ := deltaSeconds(text)
			return d
		}
	}
	expires, err := http.ParseTime(r.get("Expires"))
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(r.get("Date"))
	if err != nil {
		date = time.Now()
	}
	return expires.Sub(date)
}

// record begins to store the answer to a request, if it may be stored (RFC 9111 section 3);
// else it returns nil, which records nothing. What changes a resource makes what is stored of
// it worthless.
func (c *cache) record(at lookup, r *request, answer *response, content body) *recording {
	if isUnsafe(r.method) && answer.status < 400 {
		c.forget(at.url)
		return nil
	}
	has := answer.directives()
	_, noStore := has["no-store"]
	_, private := has["private"]
	_, noCache := has["no-cache"]
	lifetime := answer.lifetime(has)
	vary := answer.tokens("Vary")
	if at.unfit || noStore || private || noCache || lifetime <= 0 ||
		slices.Contains(vary, "*") || !slices.Contains(storable, answer.status) || content.length > int64(c.bytes) {
		return nil
	}
	s := &stored{url: at.url, vary: vary, answer: &response{head: answer.clone(), status: answer.status, minor: answer.minor}, at: time.Now(), lifetime: lifetime}
	s.answer.del("Age")
	s.born, _ = deltaSeconds(answer.get("Age"))
	for _, name := range vary {
		s.asked = append(s.asked, r.joined(name))
	}
	return &recording{cache: c, stored: s}
}

// isUnsafe says whether a method changes what it is about (RFC 9110 section 9.2.1).
func isUnsafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// recording is a response that is being stored. A nil one stores nothing.
type recording struct {
	cache   *cache
	stored  *stored
	content bytes.Buffer
	tooLong bool
}

// Write takes the body.
func (r *recording) Write(b []byte) (int, error) {
	if r.tooLong = r.tooLong || r.content.Len()+len(b) > r.cache.bytes; r.tooLong {
		r.done()
	} else {
		r.content.Write(b)
	}
	return len(b), nil
}

// complete stores the response.
func (r *recording) complete() {
	if r == nil || r.tooLong {
		return
	}
	s := r.stored
	s.content = bytes.Clone(r.content.Bytes())
	s.answer.del("Content-Length")
	s.answer.add("Content-Length", strconv.Itoa(len(s.content)))
	r.cache.store(s)
}

// done lets go of a response that did not come to its end.
func (r *recording) done() {
	if r != nil {
		r.content = bytes.Buffer{}
	}
}

func (c *cache) store(s *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.size() > c.bytes {
		return
	}
	for _, e := range slices.Clone(c.byURL[s.url]) {
		old := e.Value.(*stored)
		if slices.Equal(old.vary, s.vary) && slices.Equal(old.asked, s.asked) {
			c.drop(e)
		}
	}
	c.byURL[s.url] = append([]*list.Element{c.order.PushFront(s)}, c.byURL[s.url]...)
	c.used += s.size()
	for c.used > c.bytes || c.order.Len() > c.entries {
		c.drop(c.order.Back())
	}
}

// drop takes an entry out; the caller holds mu.
func (c *cache) drop(e *list.Element) {
	s := c.order.Remove(e).(*stored)
	c.used -= s.size()
	rest := slices.DeleteFunc(c.byURL[s.url], func(other *list.Element) bool { return other == e })
	if c.byURL[s.url] = rest; len(rest) == 0 {
		delete(c.byURL, s.url)
	}
}

// forget drops all that is stored of a URL (RFC 9111 section 4.4).
func (c *cache) forget(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Clone(c.byURL[url]) {
		c.drop(e)
	}
}

// fromCache answers a request with what is stored. It reports whether the connection goes on.
func (h *httpClient) fromCache(c net.Conn, in *bufio.Reader, r *request, at lookup) bool {
	s := at.hit
	keep := r.keepsAlive() && drain(c, in, r)
	h.env.Record(trace.Event{Type: trace.CacheHit, Flow: &h.flow, Dur: h.env.Wall(at.age), Status: s.answer.status,
		Detail: r.method + " " + at.url})
	from := s.answer.clone()
	from.add("Age", strconv.Itoa(int(at.age/time.Second)))
	out := h.answer(from, s.answer.minor, fmt.Sprintf("hit; ttl=%d", int((s.lifetime-at.age)/time.Second)))
	b := withConnection(out, keep)
	if r.method != http.MethodHead {
		b = append(b, s.content...)
	}
	_, err := c.Write(b)
	return err == nil && keep
}

// cacheHeader says what the cache did: a hit, or why there was none.
func (h *httpClient) cacheHeader(out *head, did string) {
	name := h.env.Spec.Name
	hit := strings.HasPrefix(did, "hit")
	switch h.settings.CacheHeader {
	case cacheHeaderX:
		result := "MISS"
		if hit {
			result = "HIT"
		}
		out.appendTo("X-Cache", result+" from "+name)
	case cacheHeaderStatus: // RFC 9211 section 2
		if !hit {
			did = "fwd=" + did
		}
		out.appendTo("Cache-Status", name+"; "+did)
	}
}
