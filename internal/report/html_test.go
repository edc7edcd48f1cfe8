package report

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/wslab/wslab/scenarios"
)

// browser starts a headless Chromium, and returns a page in it and what it complains of.
func browser(t *testing.T) (ctx context.Context, complaints func() []string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("WSLAB_REQUIRE_PEERS") != "" && os.Geteuid() == 0 {
			t.Fatal("chromium is required here")
		}
		t.Skip("there is no chromium here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile(t)), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(2*time.Minute))
	// The context of a test ends before its cleanup, in which the browser is to close its profile.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(bounded, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // it may have ended already
	said := make(chan string, 1000)
	tell := func(format string, args ...any) {
		select {
		case said <- fmt.Sprintf(format, args...):
		default:
		}
	}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			tell("exception: %s", e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			tell("console: %s %v", e.Type, e.Args)
		case *log.EventEntryAdded:
			tell("log: %s", e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "file:") && !strings.HasPrefix(e.Request.URL, "data:") {
				tell("request: %s", e.Request.URL)
			}
		}
	})
	if err := chromedp.Run(ctx, network.Enable(), log.Enable()); err != nil {
		t.Fatal(err)
	}
	return ctx, func() (all []string) {
		for {
			select {
			case s := <-said:
				all = append(all, s)
			default:
				return all
			}
		}
	}
}

// page writes a document as a page to a file and returns its URL.
func page(t *testing.T, d *Document) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "wslab.html")
	if err := os.WriteFile(file, []byte(write(t, "html", d, Options{})), 0o644); err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "file", Path: file}).String()
}

const ready = `html[data-ready=true]`

// TestPage opens cells by keyboard at the width of a phone and of a desktop. WSLAB_SCREENSHOTS names a folder
// for pictures of it.
func TestPage(t *testing.T) {
	ctx, complaints := browser(t)
	d := compared(t)
	if file := os.Getenv("WSLAB_PAGE_OF"); file != "" {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if d, err = Read(f, file); err != nil {
			t.Fatal(err)
		}
	}
	at := page(t, d)
	for _, width := range []int64{390, 1280} {
		var overflow, rows, events, marks int
		var focused, title, after string
		wide := func() chromedp.Action {
			return chromedp.Evaluate(`document.documentElement.scrollWidth - innerWidth`, &overflow)
		}
		must(t, ctx,
			emulation.SetDeviceMetricsOverride(width, 844, 1, width < 600),
			emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: map[int64]string{390: "dark", 1280: "light"}[width]}}),
			chromedp.Navigate(at), chromedp.WaitReady(ready, chromedp.ByQuery), wide(),
			chromedp.Evaluate(`document.querySelectorAll('#matrix tbody tr').length`, &rows),
		)
		if overflow > 0 {
			t.Errorf("at width %d the page is %d pixels too wide", width, overflow)
		}
		if rows != len(d.matrix().rows) {
			t.Errorf("%d rows of %d", rows, len(d.matrix().rows))
		}
		picture(t, ctx, fmt.Sprintf("matrix-%d", width))
		must(t, ctx,
			chromedp.Focus(`#matrix td[tabindex="0"]`, chromedp.ByQuery),
			chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.Enter),
			chromedp.WaitVisible(`#story svg`, chromedp.ByQuery),
			chromedp.Evaluate(`document.activeElement.id`, &focused), chromedp.Evaluate(`document.querySelector('#story h2').textContent`, &title),
			chromedp.Evaluate(`document.querySelectorAll('#events tbody tr').length`, &events), chromedp.Evaluate(`document.querySelectorAll('#story svg path, #story svg rect').length`, &marks), wide(),
		)
		first := d.matrix().rows[0]
		if want := first.id.String() + ": " + first.entries[0].client; focused != "story" || !strings.HasPrefix(title, want) {
			t.Errorf("Enter opened %q with the focus at %q, not %q", title, focused, want)
		}
		if events < 5 || marks < 5 || overflow > 0 {
			t.Errorf("at width %d the story has %d events, %d marks, and is %d pixels too wide", width, events, marks, overflow)
		}
		picture(t, ctx, fmt.Sprintf("story-%d", width))
		must(t, ctx, chromedp.KeyEvent(kb.Escape), chromedp.WaitNotVisible(`#story`, chromedp.ByQuery), chromedp.Evaluate(`document.activeElement.tagName`, &after))
		if after != "TD" {
			t.Errorf("after Escape the focus is at %s", after)
		}
		var hidden, shown int
		must(t, ctx,
			chromedp.Click(`#unexpected`, chromedp.ByQuery),
			chromedp.Evaluate(`document.querySelectorAll('#matrix tbody tr[hidden]').length`, &hidden),
			chromedp.Evaluate(`document.querySelectorAll('#matrix tbody tr:not([hidden]) td.x').length`, &shown),
		)
		if shown != d.matrix().counts().unexpected {
			t.Errorf("%d cells that were not as expected are shown, of %d", shown, d.matrix().counts().unexpected)
		}
	}
	if all := complaints(); len(all) > 0 {
		t.Errorf("the page complains:\n%s", strings.Join(all, "\n"))
	}
}

// profile is a folder for a browser, whose processes may write to it for a moment when it has ended.
func profile(t *testing.T) string {
	dir, err := os.MkdirTemp("", "wslab-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if err := os.RemoveAll(dir); err == nil || time.Now().After(deadline) {
				if err != nil {
					t.Error(err)
				}
				return
			}
		}
	})
	return dir
}

func must(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// picture takes one of the whole page.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := os.Getenv("WSLAB_SCREENSHOTS")
	if folder == "" {
		return
	}
	var png []byte
	must(t, ctx, chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPageSays reads the page's own data back as the browser does, and compares it cell by cell with the run.
func TestPageSays(t *testing.T) {
	ctx, complaints := browser(t)
	d := document(recorded(), "")
	var got []struct {
		Key, State, Cause      string
		Unexpected, Unfinished bool
	}
	var found string
	must(t, ctx, chromedp.Navigate(page(t, d)), chromedp.WaitReady(ready, chromedp.ByQuery))
	// Every cell is opened with a click, and what a reader sees of it is collected.
	must(t, ctx, chromedp.Evaluate(`[...document.querySelectorAll('#matrix tbody td[role]')].map(td => {
		td.click();
		const seen = document.querySelector('#story'), cause = seen.querySelector('.cause');
		const key = seen.querySelector('h2').firstChild.textContent.trim();
		return { Key: key, State: td.lastElementChild.textContent.trim(), Unexpected: td.classList.contains('x'), Cause: cause ? cause.textContent : '', Unfinished: !cause };
	})`, &got), chromedp.Evaluate(`document.title`, &found))
	want := sayings(d)
	for _, g := range got {
		w, ok := want[oneLine(g.Key)]
		if !ok || string(w.state) != g.State || w.passed == g.Unexpected || w.skipped != g.Unfinished || w.cause != oneLine(g.Cause) {
			t.Errorf("the page says %+v, the run %+v", g, w)
		}
		delete(want, oneLine(g.Key))
	}
	if len(want) > 0 || found != "wslab: failed" {
		t.Errorf("%q does not show %v", found, want)
	}
	if all := complaints(); len(all) > 0 {
		t.Errorf("the page complains:\n%s", strings.Join(all, "\n"))
	}
}

// TestPageIsSmall makes a page of more than the whole built-in matrix with every strategy.
func TestPageIsSmall(t *testing.T) {
	r := recorded()
	var all []*scenarios.Result
	for n := range 70 {
		p := *r.Results[0]
		p.Scenario, p.Cells = fmt.Sprintf("scenario-%d", n), nil
		for k := range 36 {
			c := r.Results[0].Cells[k%2]
			c.Client, c.Passed = fmt.Sprintf("strategy-%d", k), true
			p.Cells = append(p.Cells, c)
		}
		all = append(all, &p)
	}
	r.Results, r.Unfinished = all, nil
	text := write(t, "html", document(r, ""), Options{})
	if len(text) > maxPage {
		t.Errorf("%d bytes", len(text))
	}
	if bytes.Contains([]byte(text), []byte("Timelines of clients")) {
		t.Error("timelines were left out")
	}
}
