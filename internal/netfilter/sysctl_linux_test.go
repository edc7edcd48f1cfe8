package netfilter_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node/nodetest"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// TestTimeouts sets every timeout as a node does whose /proc/sys is read-only, and
// then as one whose is not; and has Linux's own back.
func TestTimeouts(t *testing.T) {
	h := nodetest.NewHost(t, "host")
	for _, timeout := range append(append(netfilter.TransitoryTimeouts(), netfilter.UDPTimeouts()...), netfilter.EstablishedDefault) {
		if got, want := h.Sysctl(t, timeout.Sysctl), strconv.Itoa(int(timeout.Linux.Seconds())); got != want {
			t.Errorf("%s is %s from the start, not %s", timeout.Sysctl, got, want)
		}
		h.MustDo(t, func() error { return timeout.SetDefault(7) })
		if got := h.Sysctl(t, timeout.Sysctl); got != "7" {
			t.Errorf("%s is %s", timeout.Sysctl, got)
		}
		h.MustDo(t, func() error { return timeout.Set(9 * time.Second) })
		if got := h.Sysctl(t, timeout.Sysctl); got != "9" {
			t.Errorf("%s is %s", timeout.Sysctl, got)
		}
		h.MustDo(t, func() error { return timeout.Set(0) })
		if got, want := h.Sysctl(t, timeout.Sysctl), strconv.Itoa(int(timeout.Linux.Seconds())); got != want {
			t.Errorf("%s is %s again, not %s", timeout.Sysctl, got, want)
		}
	}
	h.MustDo(t, func() error { return netfilter.SetEstablishedTimeout(9 * time.Second) })
	if got := h.Sysctl(t, netfilter.EstablishedTimeout); got != "9" {
		t.Errorf("the timeout is %s", got)
	}
}

// TestTable makes, changes and removes an entry.
func TestTable(t *testing.T) {
	h := nodetest.NewHost(t, "host")
	var c *netfilter.Conntrack
	h.MustDo(t, func() (err error) { c, err = netfilter.OpenConntrack(); return err })
	defer func() { _ = c.Close() }()
	list := func() []netfilter.Entry {
		t.Helper()
		entries, err := c.List()
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	empty := func(want bool) {
		t.Helper()
		if got := c.Empty(); got != want {
			t.Errorf("empty: %v", got)
		}
	}
	empty(true)
	if got := list(); len(got) != 0 {
		t.Errorf("a new table has %+v", got)
	}
	must(c.Create(netfilter.Example, 30*time.Second))
	empty(false)
	must(c.SetTimeout(netfilter.Example, 60*time.Second))
	if got := list(); len(got) != 1 || got[0].Orig != netfilter.Example || got[0].State != netfilter.StateEstablished || got[0].Timeout < 50*time.Second {
		t.Errorf("the table has %+v", got)
	}
	must(c.Delete(netfilter.Example))
	must(c.Delete(netfilter.Example))
	must(c.SetTimeout(netfilter.Example, time.Second))
	must(c.Create(netfilter.Example, time.Second))
	must(c.Flush())
	if got := list(); len(got) != 0 {
		t.Errorf("the table has %+v", got)
	}
}
