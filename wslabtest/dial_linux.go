package wslabtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
)

// dialVerb is what a process of this binary is started with that dials inside a node.
const dialVerb = "wslabtest-dial"

// dialed is what that process says, beside the socket if there is one.
type dialed struct {
	Error string `json:"error,omitempty"`
	// Errno is the cause in numbers, 0 if there is none.
	Errno syscall.Errno `json:"errno,omitempty"`
}

// answerDial dials and passes the socket on to whoever holds the other end of standard input.
// A socket stays in the network namespace in which it was made.
func answerDial(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New(dialVerb + " is not for people")
	}
	// As the clients of a lab dial: nothing that the test has not asked for keeps the connection alive.
	dialer := net.Dialer{KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: false}, Resolver: &net.Resolver{PreferGo: true}}
	conn, err := dialer.DialContext(ctx, args[0], args[1])
	if err != nil {
		return pass(dialed{Error: err.Error(), Errno: errno(err)})
	}
	defer func() { _ = conn.Close() }()
	sock, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return pass(dialed{Error: "network " + args[0] + " has no sockets"})
	}
	file, err := sock.File()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return pass(dialed{}, int(file.Fd()))
}

func errno(err error) (e syscall.Errno) {
	_ = errors.As(err, &e)
	return e
}

func pass(d dialed, fds ...int) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", unix.Sendmsg(int(os.Stdin.Fd()), text, unix.UnixRights(fds...), nil, 0))
}

// DialContext opens a connection that comes out at the client node: a real socket of that node's network,
// which resolves the names of the lab. It fits [http.Transport], [websocket.Dialer] and whatever else lets
// its connections be dialled. TCP keepalive is off, so that it does not keep a NAT awake unasked. It is safe for
// concurrent use.
//
// The error is a [*net.OpError] whose cause is the [syscall.Errno], if there was one.
func (l *Lab) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(os.NewSyscallError("socketpair", err))
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer func() { _ = ours.Close() }()
	var said bytes.Buffer
	self, err := os.Executable()
	if err == nil {
		var code int
		code, err = l.running.Exec(ctx, l.node, engine.Command{
			Args: []string{self, dialVerb, network, address}, Stdin: theirs, Stderr: &said,
		})
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(said.String()))
		}
	}
	_ = theirs.Close()
	if err != nil {
		return fail(err)
	}
	return received(int(ours.Fd()), network)
}

// received returns the connection whose socket was passed.
func received(from int, network string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	text, rights := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(4))
	n, rightsN, _, _, err := unix.Recvmsg(from, text, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return fail(os.NewSyscallError("recvmsg", err))
	}
	var d dialed
	if err := json.Unmarshal(text[:n], &d); err != nil {
		return fail(err)
	}
	switch {
	case d.Errno != 0:
		return fail(d.Errno)
	case d.Error != "":
		return fail(errors.New(d.Error))
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rightsN])
	if err != nil {
		return fail(err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil || len(fds) == 0 {
			continue
		}
		file := os.NewFile(uintptr(fds[0]), "dialled")
		conn, err := net.FileConn(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return fail(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetKeepAlive(false) // FileConn has turned it on
		}
		return conn, err
	}
	return fail(errors.New("no socket came"))
}
