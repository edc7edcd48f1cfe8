package netns

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// What a command asks of the supervisor; one connection each.
const (
	opPlan     = "plan"     // the plan as it runs
	opApply    = "apply"    // make the lab equal to a plan
	opSettled  = "settled"  // when nothing is being applied
	opNodes    = "nodes"    // how each node is
	opAttach   = "attach"   // from then on the connection is the node's control stream
	opLogs     = "logs"     // from then on the connection carries the node's output
	opExec     = "exec"     // run a program; its standard files come along
	opPause    = "pause"    // stop a node's processes
	opResume   = "resume"   // continue them
	opShutdown = "shutdown" // end, and everything with it
)

// request is one line of JSON.
type request struct {
	Op     string         `json:"op"`
	Node   string         `json:"node,omitempty"`
	Follow bool           `json:"follow,omitempty"`
	Plan   *topology.Plan `json:"plan,omitempty"`
	Args   []string       `json:"args,omitempty"`
	Env    []string       `json:"env,omitempty"`
	Dir    string         `json:"dir,omitempty"`
	// Leave asks that a lab that was made equal to Plan no longer ends with its owner. It has
	// taken effect when the reply comes.
	Leave bool `json:"leave,omitempty"`
}

// reply is one line of JSON. Lines with Progress come before the last one.
type reply struct {
	Progress string              `json:"progress,omitempty"`
	Error    string              `json:"error,omitempty"`
	Plan     *topology.Plan      `json:"plan,omitempty"`
	Tied     bool                `json:"tied,omitempty"` // the lab ends with the process that has it
	Changes  *engine.Changes     `json:"changes,omitempty"`
	Nodes    []engine.NodeStatus `json:"nodes,omitempty"`
	Exit     int                 `json:"exit,omitempty"`
	// Supervisor is the supervisor's process as the host numbers it.
	Supervisor int `json:"supervisor,omitempty"`
}

// signalLine is what the client of an exec may send while it runs.
type signalLine struct {
	Signal int `json:"signal"`
}

// errRemote is an error that the supervisor answered with.
type errRemote string

func (e errRemote) Error() string { return string(e) }

// send writes a request, with open files beside it.
func send(conn *net.UnixConn, r request, files ...*os.File) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(line, rights, nil)
	for err == nil && n < len(line) {
		var more int
		more, err = conn.Write(line[n:])
		n += more
	}
	return err
}

// maxFiles is how many files come with a request: standard input, output and error.
const maxFiles = 3

// receive reads a request and the files beside it.
func receive(conn *net.UnixConn) (r request, files []*os.File, rest *bufio.Reader, err error) {
	buf := make([]byte, 64<<10)
	oob := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return r, nil, nil, err
	}
	if files, err = openRights(oob[:oobn]); err != nil {
		return r, nil, nil, err
	}
	rest = bufio.NewReader(io.MultiReader(bytes.NewReader(buf[:n]), conn))
	line, err := rest.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		closeAll(files)
		return r, nil, nil, fmt.Errorf("request: %w", err)
	}
	return r, files, rest, nil
}

func openRights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// ask sends a request and reads replies until the last one. What follows it on
// the connection is read from rest.
func ask(conn *net.UnixConn, r request, progress engine.Progress, files ...*os.File) (p reply, rest *bufio.Reader, err error) {
	if err := send(conn, r, files...); err != nil {
		if gone(err) {
			err = errSupervisorGone
		}
		return p, nil, err
	}
	rest = bufio.NewReader(conn)
	for {
		line, err := rest.ReadBytes('\n')
		if gone(err) {
			err = errSupervisorGone
		}
		if err != nil {
			return p, nil, err
		}
		p = reply{}
		if err := json.Unmarshal(line, &p); err != nil {
			return p, nil, fmt.Errorf("%w: %w", errForeign, err)
		}
		switch {
		case p.Progress != "":
			progress.Say("%s", p.Progress)
		case p.Error != "":
			return p, rest, errRemote(p.Error)
		default:
			return p, rest, nil
		}
	}
}

// gone says whether the other end of a connection is.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// errForeign says that something else than a supervisor answers.
var errForeign = errors.New("what answers there is not this version of wslab")

// errSupervisorGone says that the supervisor ended in the middle, and the lab with it.
var errSupervisorGone = errors.New("the lab's supervisor has ended, and every node with it; start the lab again with: wslab up")
