package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wslab/wslab/internal/report"
)

// stepSummary names the environment variable with the file that GitHub shows as the summary of a step.
const stepSummary = "GITHUB_STEP_SUMMARY"

// reportFlags are the flags that say which reports are written to files, and what a run is compared with.
type reportFlags struct {
	reports   []string
	baseline  string
	tolerance string
}

func (f *reportFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.reports, "report", nil, "write a report to a file as FORMAT=FILE, several with commas or by giving the flag again; FORMAT is one of: "+strings.Join(reportNames(), ", "))
	flags.StringVar(&f.baseline, "baseline", "", "compare with this JSON report of an earlier run: what got worse or vanished fails the run")
	flags.StringVar(&f.tolerance, "baseline-tolerance", report.DefaultTolerance().String(), "by how much of lab time an outage may grow against the baseline: the larger of both")
}

func reportNames() []string {
	var names []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return names
}

// reportFile is a report that is asked for.
type reportFile struct {
	format report.Format
	path   string
}

// reporting is what is to be done with a run when it is over.
type reporting struct {
	files     []reportFile
	summary   string // file that Markdown is appended to
	baseline  *report.Document
	file      string // of the baseline
	tolerance report.Tolerance
	scope     func(*report.Document) report.Scope // nil is all of the baseline
	progress  func(string, ...any)

	written time.Time     // when files were written last in the middle of the run
	took    time.Duration // and how long that took, with making the document
}

// check reads the flags: what cannot be written or read is refused before anything is played.
func (f *reportFlags) check(c *cli) (*reporting, error) {
	r := &reporting{file: f.baseline, progress: c.progress}
	for _, text := range f.reports {
		name, path, ok := strings.Cut(text, "=")
		format, known := report.Find(name)
		switch {
		case !ok || path == "":
			return nil, usagef("--report %s: it has to be FORMAT=FILE, such as junit=wslab.xml; FORMAT is one of: %s", text, strings.Join(reportNames(), ", "))
		case !known:
			return nil, usagef("--report %s: no format %q; it can be: %s", text, name, strings.Join(reportNames(), ", "))
		case slices.ContainsFunc(r.files, func(o reportFile) bool { return filepath.Clean(o.path) == filepath.Clean(path) }):
			return nil, usagef("--report: two reports go to %s", path)
		}
		if err := writable(path); err != nil {
			return nil, usagef("--report %s: %w", text, err)
		}
		r.files = append(r.files, reportFile{format, path})
	}
	if path := os.Getenv(stepSummary); path != "" {
		if err := appendable(path); err != nil {
			return nil, usagef("%s: %w", stepSummary, err)
		}
		r.summary = path
	}
	var err error
	if r.tolerance, err = report.ParseTolerance(f.tolerance); err != nil {
		return nil, usagef("--baseline-tolerance: %w", err)
	}
	if f.baseline != "" {
		if r.baseline, err = readReport(f.baseline); err != nil {
			return nil, usagef("--baseline: %w", err)
		}
	}
	return r, nil
}

// readReport reads a JSON report from a file.
func readReport(path string) (*report.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return report.Read(f, path)
}

// isSpecial says whether a path is something that is written to and not replaced, such as /dev/stderr.
func isSpecial(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// writable tries whether a file can be written there, and leaves nothing behind.
func writable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory; name a file in it", path)
	case err == nil && !info.Mode().IsRegular():
		return nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; make it first", filepath.Dir(path))
	case err != nil:
		return err
	case !folder.IsDir():
		return fmt.Errorf("%s is not a directory", filepath.Dir(path))
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporaryName(path))
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// appendable tries whether a file can be appended to.
func appendable(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// temporaryName is the pattern of the file that becomes the one at a path.
func temporaryName(path string) string { return "." + filepath.Base(path) + ".*" }

// compare compares with the baseline, where there is one.
func (r *reporting) compare(d *report.Document) error {
	if r.baseline == nil {
		return nil
	}
	var scope report.Scope
	if r.scope != nil {
		scope = r.scope(d)
	}
	if err := d.Compare(r.baseline, r.file, r.tolerance, scope); err != nil {
		return usagef("--baseline %s: %w", r.file, err)
	}
	return nil
}

// soFar writes the files of a run that is not over, unless they were written a moment ago: writing
// must not take the time of the plays. It is for what cannot be caught, such as a kill -9.
func (r *reporting) soFar(document func() *report.Document) error {
	if len(r.files) == 0 || time.Since(r.written) < max(time.Second, 20*r.took) {
		return nil
	}
	begun := time.Now()
	err := r.write(document())
	r.written = time.Now()
	r.took = r.written.Sub(begun)
	return err
}

// write writes all files; each is replaced as a whole or not at all.
func (r *reporting) write(d *report.Document) error {
	var all []error
	for _, f := range r.files {
		if err := writeReport(f, d); err != nil {
			all = append(all, fmt.Errorf("report %s=%s: %w", f.format.Name, f.path, err))
		}
	}
	return errors.Join(all...)
}

// finish writes the files of a run that is over, and appends to the summary of the step.
func (r *reporting) finish(d *report.Document) error {
	err := r.write(d)
	if err == nil {
		for _, f := range r.files {
			r.progress("report: %s", f.path)
		}
	}
	if r.summary == "" {
		return err
	}
	format, _ := report.Find("markdown")
	var b bytes.Buffer
	failed := format.Write(&b, d, report.Options{})
	if failed == nil {
		failed = appendTo(r.summary, b.Bytes())
	}
	if failed != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", stepSummary, failed))
	}
	return err
}

func appendTo(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// writeReport writes one report beside its file and puts it in the file's place.
func writeReport(r reportFile, d *report.Document) error {
	o := report.Options{Traces: true}
	if isSpecial(r.path) {
		f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		return errors.Join(r.format.Write(f, d, o), f.Close())
	}
	path := r.path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporaryName(path))
	if err != nil {
		return err
	}
	err = errors.Join(r.format.Write(f, d, o), f.Chmod(modeFor(path)), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// modeFor is the mode of the file that is replaced, else that others may read it.
func modeFor(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}
