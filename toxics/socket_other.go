//go:build !unix

package toxics

import (
	"net"
	"syscall"
)

func socket(*net.TCPConn) syscall.RawConn { return nil }

func (r *reader) readWhenReady() ([]byte, error) { panic("no socket to read") }

func writeNow(syscall.RawConn, []byte) (int, error) { panic("no socket to write to") }
