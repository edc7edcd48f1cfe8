package report

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joshdk/go-junit"
)

// said is what a report says of one client in one play.
type said struct {
	state   State
	passed  bool
	skipped bool
	tally   string
	cause   string
}

// sayings are those of a document.
func sayings(d *Document) map[string]said {
	all := make(map[string]said)
	for _, r := range d.matrix().rows {
		for i := range r.entries {
			e := &r.entries[i]
			s := said{state: e.state(), passed: e.passed(), skipped: len(e.cells) == 0, tally: e.tally()}
			if c := e.shown(); c != nil {
				s.cause = oneLine(c.Cause)
			} else {
				s.tally = ""
			}
			all[oneLine(r.id.String()+": "+e.client)] = s
		}
	}
	return all
}

// TestEveryReportSaysTheSame reads each format with a parser that nobody here wrote, and compares cell by cell.
func TestEveryReportSaysTheSame(t *testing.T) {
	d := document(recorded(), "")
	want := sayings(d)
	t.Run("json", func(t *testing.T) {
		back, err := Read(strings.NewReader(write(t, "json", d, Options{})), "f.json")
		if err != nil {
			t.Fatal(err)
		}
		same(t, want, sayings(back))
	})
	t.Run("junit", func(t *testing.T) {
		got := fromJUnit(t, write(t, "junit", d, Options{}))
		for key, s := range got {
			w := want[key]
			if !strings.Contains(s.cause, w.cause) || !strings.HasPrefix(s.cause, w.tally) {
				t.Errorf("%s: JUnit says %+v, the run %+v", key, s, w)
			}
			s.tally, s.cause = w.tally, w.cause
			got[key] = s
		}
		same(t, want, got)
	})
	t.Run("tap", func(t *testing.T) { same(t, want, fromTAP(t, write(t, "tap", d, Options{}))) })
	t.Run("markdown", func(t *testing.T) {
		for key, s := range fromMarkdown(t, write(t, "markdown", d, Options{})) {
			if w := want[key]; w.state != s.state || w.passed != s.passed || !strings.Contains(s.cause, md(w.cause)) || !strings.Contains(s.cause, w.tally) {
				t.Errorf("%s: Markdown says %+v, the run %+v", key, s, w)
			}
			delete(want, key)
		}
		if len(want) > 0 {
			t.Errorf("not in Markdown: %v", want)
		}
	})
}

func same(t *testing.T, want, got map[string]said) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(said{})); diff != "" {
		t.Errorf("another report (-run +report):\n%s", diff)
	}
}

// fromJUnit reads JUnit with github.com/joshdk/go-junit.
func fromJUnit(t *testing.T, text string) map[string]said {
	t.Helper()
	if path, err := exec.LookPath("xmllint"); err == nil {
		lint := exec.Command(path, "--noout", "-")
		lint.Stdin = strings.NewReader(text)
		if out, err := lint.CombinedOutput(); err != nil {
			t.Errorf("xmllint: %v\n%s", err, out)
		}
	} else {
		needed(t, "xmllint")
	}
	suites, err := junit.Ingest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]said)
	for _, s := range suites {
		for _, c := range s.Tests {
			one := said{state: NotFinished, passed: c.Status != junit.StatusFailed, skipped: c.Status == junit.StatusSkipped}
			if first, rest, ok := strings.Cut(c.SystemOut, "\n"); ok {
				one.state = State(strings.TrimPrefix(first, "verdict: "))
				one.tally, one.cause = "", oneLine(rest)
			}
			all[oneLine(c.Classname+": "+c.Name)] = one
		}
	}
	return all
}

// needed fails where peers are required, and says what is left out where not.
func needed(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
		t.Errorf("%s is required here", what)
	}
	t.Logf("there is no %s here: what it would check is left out", what)
}

// tapReader prints what TAP::Parser, which comes with Perl, has read: a JSON array a line.
const tapReader = `
use TAP::Parser; use JSON::PP; binmode STDIN; binmode STDOUT;
my @last;
my $p = TAP::Parser->new({ source => *STDIN });
while (my $r = $p->next) {
	if ($r->is_test) { push @last, [$r->description, $r->is_ok ? 1 : 0, $r->directive, $r->explanation, ""]; }
	elsif ($r->is_yaml) { $last[-1][4] = $r->raw; }
}
binmode STDOUT; print JSON::PP->new->encode(\@last); # bytes as they came
print STDERR join("; ", $p->parse_errors) if $p->parse_errors;
exit($p->parse_errors ? 1 : 0);
`

// fromTAP reads TAP with Perl's TAP::Parser.
func fromTAP(t *testing.T, text string) map[string]said {
	t.Helper()
	perl, err := exec.LookPath("perl")
	if err != nil {
		needed(t, "perl")
		t.Skip("perl is not here")
	}
	cmd := exec.Command(perl, "-e", tapReader)
	cmd.Stdin = strings.NewReader(text)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("TAP::Parser: %v\n%s", err, &errs)
	}
	var points [][]any
	if err := json.Unmarshal(out.Bytes(), &points); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	all := make(map[string]said)
	for _, p := range points {
		description := strings.NewReplacer(`\#`, `#`, `\\`, `\`).Replace(strings.TrimPrefix(p[0].(string), "- "))
		values := make(map[string]string)
		for line := range strings.Lines(p[4].(string)) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
			var s string
			if ok && json.Unmarshal([]byte(value), &s) == nil { // JSON is YAML
				values[key] = s
			}
		}
		all[description] = said{
			state: State(values["verdict"]), passed: strconv.Itoa(int(p[1].(float64))) == "1", skipped: p[2] == "SKIP",
			tally: values["rounds"], cause: oneLine(values["cause"]),
		}
	}
	return all
}

var mdUnescape = regexp.MustCompile(`\\(.)`)

// fromMarkdown reads the tables of all plays.
func fromMarkdown(t *testing.T, text string) map[string]said {
	t.Helper()
	_, text, ok := strings.Cut(text, "<details>")
	if !ok {
		t.Fatal("no plays")
	}
	plain := func(s string) string {
		return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#64;", "@", "&amp;", "&").Replace(mdUnescape.ReplaceAllString(s, "$1"))
	}
	all := make(map[string]said)
	play := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutPrefix(line, "#### "); ok {
			play = plain(title)
			continue
		}
		columns := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(columns) != 7 || strings.HasPrefix(line, "|---") || strings.TrimSpace(columns[1]) == "client" {
			continue
		}
		_, verdict, _ := strings.Cut(strings.TrimSpace(columns[2]), " ")
		state, unexpected := strings.CutSuffix(verdict, " !")
		all[play+": "+plain(strings.ReplaceAll(strings.TrimSpace(columns[1]), "\x00", `\|`))] = said{
			state: State(state), passed: !unexpected, cause: strings.ReplaceAll(columns[5], "\x00", `\|`),
		}
	}
	return all
}
