package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// cached is what the cache does with a request and, if it is sent on, the answer.
func cached(t *testing.T, c *cache, request, answer string) (hit bool, age time.Duration, miss string) {
	t.Helper()
	r, err := readRequestHead(readerOf(request), maxRequestHeader)
	if err != nil {
		t.Fatal(err)
	}
	at := c.look(r, r.target)
	if at.hit != nil {
		return true, at.age, ""
	}
	from := readerOf(answer)
	a, err := readResponseHead(from, maxRequestHeader)
	if err != nil {
		t.Fatal(err)
	}
	content, err := a.body(r.method)
	if err != nil {
		t.Fatal(err)
	}
	rec := c.record(at, r, a, content)
	if rec != nil {
		if _, err := io.Copy(rec, content.reader(from)); err != nil {
			t.Fatal(err)
		}
	}
	rec.complete()
	return false, 0, at.miss
}

func TestCacheKeepsWhatItMay(t *testing.T) {
	get := func(fields string) string { return "GET http://server/ HTTP/1.1\r\nHost: server\r\n" + fields + "\r\n" }
	answer := func(fields string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + fields + "\r\nhi" }
	const fresh = "Cache-Control: max-age=60\r\n"
	for _, c := range []struct {
		name, first, answer, second string
		wait                        time.Duration
		hit                         bool
	}{
		{"max-age", get(""), answer(fresh), get(""), 59 * time.Second, true},
		{"max-age over", get(""), answer(fresh), get(""), 61 * time.Second, false},
		{"s-maxage counts more", get(""), answer("Cache-Control: max-age=60, s-maxage=5\r\n"), get(""), 10 * time.Second, false},
		{"Expires", get(""), answer("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\nExpires: Mon, 02 Jan 2006 15:05:05 GMT\r\n"), get(""), 59 * time.Second, true},
		{"an age of its own", get(""), answer(fresh + "Age: 55\r\n"), get(""), 6 * time.Second, false},
		{"no lifetime", get(""), answer(""), get(""), 0, false},
		{"no-store", get(""), answer("Cache-Control: max-age=60, no-store\r\n"), get(""), 0, false},
		{"private", get(""), answer("Cache-Control: private, max-age=60\r\n"), get(""), 0, false},
		{"asked with no-store", get("Cache-Control: no-store\r\n"), answer(fresh), get(""), 0, false},
		{"asked with no-cache", get(""), answer(fresh), get("Cache-Control: no-cache\r\n"), 0, false},
		{"asked with Pragma", get(""), answer(fresh), get("Pragma: no-cache\r\n"), 0, false},
		{"asked with max-age", get(""), answer(fresh), get("Cache-Control: max-age=5\r\n"), 6 * time.Second, false},
		{"asked with min-fresh", get(""), answer(fresh), get("Cache-Control: min-fresh=30\r\n"), 40 * time.Second, false},
		{"with authorization", get("Authorization: Basic eA==\r\n"), answer(fresh), get(""), 0, false},
		{"Vary, the same", get("Accept: a\r\n"), answer(fresh + "Vary: Accept\r\n"), get("Accept: a\r\n"), 0, true},
		{"Vary, another", get("Accept: a\r\n"), answer(fresh + "Vary: Accept\r\n"), get("Accept: b\r\n"), 0, false},
		{"Vary *", get(""), answer(fresh + "Vary: *\r\n"), get(""), 0, false},
		{"conditional", get(""), answer(fresh), get("If-None-Match: x\r\n"), 0, false},
		{"Upgrade", get(""), answer(fresh), get("Upgrade: websocket\r\nConnection: Upgrade\r\n"), 0, false},
		{"HEAD from GET", get(""), answer(fresh), "HEAD http://server/ HTTP/1.1\r\nHost: server\r\n\r\n", 0, true},
		{"POST", "POST http://server/ HTTP/1.1\r\nHost: server\r\n\r\n", answer(fresh), get(""), 0, false},
		{"error", get(""), strings.Replace(answer(fresh), "200 OK", "500 No", 1), get(""), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := newCache(10, 1<<20, 2)
				cached(t, cache, c.first, c.answer)
				time.Sleep(c.wait / 2) // the speed is 2
				if hit, age, _ := cached(t, cache, c.second, c.answer); hit != c.hit || hit && age != c.wait {
					t.Errorf("hit %t at age %v", hit, age)
				}
			})
		})
	}
}

func TestCacheForgetsWhatChanges(t *testing.T) {
	c := newCache(10, 1<<20, 1)
	const get, answer = "GET http://server/ HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nhi"
	cached(t, c, get, answer)
	cached(t, c, "POST http://server/ HTTP/1.1\r\n\r\n", answer)
	if hit, _, _ := cached(t, c, get, answer); hit {
		t.Error("a POST did not invalidate")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(5, 10_000, 1)
	for i := range 100 {
		size := 10 + 150*i // those over 10 kB are not stored at all
		cached(t, c, fmt.Sprintf("GET http://server/%d HTTP/1.1\r\n\r\n", i),
			fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
		if c.order.Len() > 5 || c.used > 10_000 || len(c.byURL) != c.order.Len() {
			t.Fatalf("%d entries, %d URLs, %d bytes", c.order.Len(), len(c.byURL), c.used)
		}
	}
	if c.order.Len() == 0 {
		t.Error("it is empty")
	}
}

func TestCacheOfAProxy(t *testing.T) {
	for header, want := range map[string][2]string{
		cacheHeaderX:      {"MISS from the-proxy", "HIT from the-proxy"},
		cacheHeaderStatus: {"the-proxy; fwd=uri-miss", "the-proxy; hit; ttl="},
	} {
		t.Run(header, func(t *testing.T) {
			r, _ := forwarding(t, func(s *Settings) { s.CacheEntries, s.CacheHeader = 10, header })
			asked := 0
			counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Cache-Control", "max-age=3600")
				_, _ = fmt.Fprint(w, asked)
			}))
			defer counting.Close()
			r.host("counting:80", counting.Listener.Addr().String())
			const get = "GET http://counting/a HTTP/1.1\r\nHost: counting\r\n\r\n"
			answers := r.exchange(t, get, get, strings.Replace(get, "GET", "HEAD", 1), strings.Replace(get, "\r\n\r\n", "\r\nCache-Control: only-if-cached\r\n\r\n", 1),
				"GET http://counting/b HTTP/1.1\r\nHost: counting\r\nCache-Control: only-if-cached\r\n\r\n")
			name := map[string]string{cacheHeaderX: "X-Cache", cacheHeaderStatus: "Cache-Status"}[header]
			for i, hit := range []int{0, 1, 1, 1} {
				if got := answers[i].Header.Get(name); !strings.HasPrefix(got, want[hit]) {
					t.Errorf("answer %d: %s is %q", i, name, got)
				}
				if got := answers[i].Header.Get("Age"); (got != "") != (hit == 1) {
					t.Errorf("answer %d: Age is %q", i, got)
				}
				if got := textOf(t, answers[i]); got != "1" && i != 2 {
					t.Errorf("answer %d is %q", i, got)
				}
			}
			if answers[4].StatusCode != http.StatusGatewayTimeout {
				t.Errorf("only-if-cached: %s", answers[4].Status)
			}
			if e := r.events.wait(t, trace.CacheHit, 3); e.Detail != "GET http://counting/a" || e.Status != 200 {
				t.Errorf("event %v", e)
			}
		})
	}
}
