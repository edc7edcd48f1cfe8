package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/handshake"
	"github.com/wslab/wslab/topology"
)

// errHandshake says that a handshake is wrong. What was printed has said what.
var errHandshake = errors.New("the handshake is wrong")

// handshakeInput is what wslab handshake is given.
type handshakeInput struct{ key, request, response string }

func (c *cli) handshakeCommand() *cobra.Command {
	var in handshakeInput
	cmd := &cobra.Command{
		Use:   "handshake [KEY]",
		Short: "Show how the opening handshake is calculated, or check one that is given as text",
		Long: `Show how a server gets from Sec-WebSocket-Key to Sec-WebSocket-Accept, step by step: for
KEY, for the key of the request, or for a new one.

--request and --response check what a client has sent and what came back: files with the
text as it stood on the wire, or - for standard input. Each thing that is wrong is named with
its place, the section of the RFC that asks for it, and what to do. A response is checked
against its request where that is given as well; for its Sec-WebSocket-Accept, KEY will do.

The exit code is 1 when the handshake, or KEY, is wrong.`,
		Example: `  wslab handshake
  wslab handshake dGhlIHNhbXBsZSBub25jZQ==
  wslab handshake --request request.txt
  wslab handshake --response response.txt --request request.txt
  curl -si -m 2 --http1.1 -H 'Connection: Upgrade' ... | wslab handshake --response - --key KEY`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if in.key != "" {
					return usagef("the key is given twice: %s and --key %s", args[0], in.key)
				}
				if _, err := os.Stat(args[0]); err == nil || args[0] == "-" {
					return usagef("%q is a file, not a key: check it with --request %[1]s or --response %[1]s", args[0])
				}
				in.key = args[0]
			}
			if cmd.Flags().Changed("key") && in.key == "" {
				return usagef("--key is empty")
			}
			return c.handshake(cmd.Context(), in)
		},
	}
	cmd.Flags().StringVar(&in.request, "request", "", "file with the request of a client; - is standard input")
	cmd.Flags().StringVar(&in.response, "response", "", "file with the response of a server; - is standard input")
	cmd.Flags().StringVar(&in.key, "key", "", "Sec-WebSocket-Key of the request that a response answers; the same as KEY")
	return cmd
}

// checkedHead is a request or a response that was checked.
type checkedHead struct {
	name, text string
	head       *handshake.Head
	problems   []handshake.Problem
}

// status is what a server refuses a request with: that of the first fault that it meets;
// 0 where there is none.
func (h *checkedHead) status() int {
	for _, p := range handshake.CheckRequest(h.head) {
		if !p.Note {
			return p.Status()
		}
	}
	return 0
}

func (h *checkedHead) valid() bool { return len(handshake.Wrong(h.problems)) == 0 }

// handshake checks what there is to check, and shows the calculation.
func (c *cli) handshake(ctx context.Context, in handshakeInput) error {
	switch {
	case in.request != "" && in.key != "":
		return usagef("the request has a key of its own: leave out %s", in.key)
	case in.request == "-" && in.response == "-":
		return usagef("standard input is one text: the request or the response has to be a file")
	}
	checked := handshakeReport{key: in.key}
	var err error
	if in.request != "" {
		if checked.request, err = c.readHead(ctx, in.request); err != nil {
			return err
		}
		checked.request.problems = handshake.ByPlace(handshake.CheckRequest(checked.request.head))
		checked.key = checked.request.head.Value("Sec-WebSocket-Key")
	}
	if in.response != "" {
		if checked.response, err = c.readHead(ctx, in.response); err != nil {
			return err
		}
		var of *handshake.Head
		if checked.request != nil {
			of = checked.request.head
		}
		checked.response.problems = handshake.ByPlace(handshake.CheckResponse(checked.response.head, checked.key, of))
	}
	if in == (handshakeInput{}) {
		checked.key = handshake.NewKey()
	}
	if checked.request == nil && checked.key != "" { // else it is the request's problem
		if p, wrong := handshake.KeyProblem(checked.key); wrong {
			checked.keyProblem = &p
		}
	}
	if c.settings.format == "json" {
		err = c.printJSON(checked.document(handshake.Language(language(c.settings.lang))))
	} else {
		err = checked.print(c.out, handshake.Language(language(c.settings.lang)))
	}
	if err != nil {
		return err
	}
	if !checked.valid() {
		return errHandshake
	}
	return nil
}

// readHead reads the text of a request or of a response, as much of it as is looked at.
func (c *cli) readHead(ctx context.Context, name string) (*checkedHead, error) {
	in, what := c.in, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("%w", err)
		}
		defer func() { _ = f.Close() }()
		in, what = f, name
	}
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() { // standard input may never come, and Ctrl-C has to end the command then
		text, err := io.ReadAll(io.LimitReader(in, handshake.MaxHead+1))
		read <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-read:
		if r.err != nil {
			return nil, usagef("%w", r.err)
		}
		if len(r.text) == 0 {
			return nil, usagef("%s is empty; it has to hold the text of a request or of a response", what)
		}
		return &checkedHead{name: what, text: string(r.text), head: handshake.Parse(r.text)}, nil
	}
}

// handshakeReport is what there is to say.
type handshakeReport struct {
	request, response *checkedHead       // nil if not given
	key               string             // "" if not known
	keyProblem        *handshake.Problem // of a key that stands in no request, nil if it has none
}

func (r *handshakeReport) valid() bool {
	return r.keyProblem == nil && (r.request == nil || r.request.valid()) && (r.response == nil || r.response.valid())
}

// print writes the report for a person.
func (r *handshakeReport) print(out io.Writer, lang handshake.Language) error {
	ja := lang == handshake.Japanese
	pick := func(en, japanese string) string {
		if ja {
			return japanese
		}
		return en
	}
	var b strings.Builder
	head := func(h *checkedHead, valid, refused string) {
		for _, p := range h.problems {
			text := fmt.Sprintf("%s (%s)", p.Text(lang), p.Section())
			if p.Note {
				text = pick("note: ", "注: ") + text
			}
			fmt.Fprintf(&b, "%s\n\n", topology.Problem{
				File: h.name, Line: p.Line, Column: p.Column, Width: p.Width,
				Message: text, Hint: p.Hint(lang), Source: sourceLine(h.text, p),
			})
		}
		if h.valid() {
			fmt.Fprintf(&b, "%s: %s\n\n", h.name, valid)
		} else {
			fmt.Fprintf(&b, "%s: %s\n\n", h.name, refused)
		}
	}
	if r.request != nil {
		head(r.request, pick("a valid request to open a WebSocket", "WebSocket を開く正しいリクエスト"),
			fmt.Sprintf(pick("a server refuses it with %d", "サーバーは %d で拒否する"), r.request.status()))
	}
	if r.response != nil {
		head(r.response, pick("a valid answer: the WebSocket is open", "正しい応答。WebSocket は開いている"),
			pick("a client does not open a WebSocket on it", "クライアントは WebSocket を開かない"))
	}
	if p := r.keyProblem; p != nil {
		fmt.Fprintf(&b, "%s (%s)\n      = %s\n\n", p.Text(lang), p.Section(), p.Hint(lang))
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	if r.key == "" {
		return nil
	}
	return printCalculation(out, handshake.Calculate(r.key), pick)
}

// sourceLine is the line that a problem is about; what is missing is on none.
func sourceLine(text string, p handshake.Problem) string {
	lines := strings.Split(text, "\n")
	if p.Width == 0 && p.Column <= 1 || p.Line > len(lines) {
		return ""
	}
	return strings.TrimSuffix(lines[p.Line-1], "\r")
}

// printCalculation shows the steps from a key to the value of Sec-WebSocket-Accept.
func printCalculation(out io.Writer, calculation handshake.Calculation, pick func(en, ja string) string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", label, fmt.Sprintf(format, args...)) // Flush tells
	}
	line(pick("1  Key", "1  キー"), "%s", shown(calculation.Key))
	line("", "%s", pick("Sec-WebSocket-Key as the client sends it", "クライアントが送る Sec-WebSocket-Key"))
	if calculation.Bytes != "" {
		line("", pick("base64 of the bytes %s", "バイト列 %s の base64"), calculation.Bytes)
	}
	line(pick("2  Joined", "2  連結"), "%s", shown(calculation.Joined))
	line("", "%s", pick("the text of the key, not its bytes, with the GUID of RFC 6455, section 1.3, behind it", "キーの文字列（バイト列ではない）の後に RFC 6455, section 1.3 の GUID を付ける"))
	line("3  SHA-1", "%s", calculation.SHA1)
	line("", "%s", pick("the hash of that, 20 bytes, here in hex", "そのハッシュ 20 バイト（ここでは 16 進）"))
	line("4  Accept", "%s", calculation.Accept)
	line("", "%s", pick("base64 of the 20 bytes, not of their hex: the server's Sec-WebSocket-Accept", "その 20 バイト（16 進文字列ではない）の base64。サーバーの Sec-WebSocket-Accept になる"))
	return w.Flush()
}

// shown is a text that a terminal can show on a line.
func shown(text string) string {
	const most = 200
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return strings.Trim(fmt.Sprintf("%q", text), `"`)
}

// handshakeDocument is the report in JSON.
type handshakeDocument struct {
	Valid    bool               `json:"valid"`
	Request  *handshakeHeadJSON `json:"request,omitempty"`
	Response *handshakeHeadJSON `json:"response,omitempty"`
	// KeyProblem is what is wrong with a key that was given by itself.
	KeyProblem *handshakeProblemJSON `json:"key_problem,omitempty"`
	// Calculation is null where no key is known.
	Calculation *handshake.Calculation `json:"calculation"`
}

// handshakeHeadJSON is a request or a response that was checked.
type handshakeHeadJSON struct {
	File  string `json:"file"`
	Valid bool   `json:"valid"`
	// Status is what a server refuses a request with, 0 where it does not.
	Status   int                    `json:"status,omitempty"`
	Problems []handshakeProblemJSON `json:"problems"`
}

type handshakeProblemJSON struct {
	ID     handshake.ProblemID `json:"id"`
	Note   bool                `json:"note"`
	Line   int                 `json:"line"`
	Column int                 `json:"column"`
	Text   string              `json:"text"`
	RFC    string              `json:"rfc"`
	Hint   string              `json:"hint"`
}

func problemJSON(p handshake.Problem, lang handshake.Language) handshakeProblemJSON {
	return handshakeProblemJSON{
		ID: p.ID, Note: p.Note, Line: p.Line, Column: p.Column, Text: p.Text(lang), RFC: p.Section(), Hint: p.Hint(lang),
	}
}

func (r *handshakeReport) document(lang handshake.Language) handshakeDocument {
	head := func(h *checkedHead) *handshakeHeadJSON {
		if h == nil {
			return nil
		}
		doc := &handshakeHeadJSON{File: h.name, Valid: h.valid(), Problems: []handshakeProblemJSON{}}
		for _, p := range h.problems {
			doc.Problems = append(doc.Problems, problemJSON(p, lang))
		}
		return doc
	}
	d := handshakeDocument{Valid: r.valid(), Request: head(r.request), Response: head(r.response)}
	if r.request != nil {
		d.Request.Status = r.request.status()
	}
	if r.keyProblem != nil {
		p := problemJSON(*r.keyProblem, lang)
		d.KeyProblem = &p
	}
	if r.key != "" {
		calculation := handshake.Calculate(r.key)
		d.Calculation = &calculation
	}
	return d
}
