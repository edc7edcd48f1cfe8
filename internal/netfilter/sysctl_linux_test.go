package netfilter

import (
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/nodetest"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// TestSetDefaultTimeout sets the timeout as a node does whose /proc/sys is read-only.
func TestSetDefaultTimeout(t *testing.T) {
	h := nodetest.NewHost(t, "host")
	h.MustDo(t, func() error { return setDefaultTimeout(7) })
	if got := h.Sysctl(t, EstablishedTimeout); got != "7" {
		t.Errorf("the timeout is %s", got)
	}
	h.MustDo(t, func() error { return SetEstablishedTimeout(9 * time.Second) })
	if got := h.Sysctl(t, EstablishedTimeout); got != "9" {
		t.Errorf("the timeout is %s", got)
	}
}

// TestTable makes, changes and removes an entry.
func TestTable(t *testing.T) {
	h := nodetest.NewHost(t, "host")
	var c *Conntrack
	h.MustDo(t, func() (err error) { c, err = OpenConntrack(); return err })
	defer func() { _ = c.Close() }()
	list := func() []Entry {
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
	must(c.Create(example, 30*time.Second))
	must(c.SetTimeout(example, 60*time.Second))
	if got := list(); len(got) != 1 || got[0].Orig != example || got[0].State != StateEstablished || got[0].Timeout < 50*time.Second {
		t.Errorf("the table has %+v", got)
	}
	must(c.Delete(example))
	must(c.Delete(example))
	must(c.SetTimeout(example, time.Second))
	must(c.Create(example, time.Second))
	must(c.Flush())
	if got := list(); len(got) != 0 {
		t.Errorf("the table has %+v", got)
	}
}
