package toxics

import (
	"net"
	"runtime"
	"syscall"
)

// bareVariable makes the test binary a relay in front of that address that does nothing else.
const bareVariable = "WSLAB_TOXICS_BARE"

// serveBare carries bytes with two threads for each connection that do nothing but read and write and
// wait in the kernel for both. No relay that is a process of its own and sleeps while it waits is faster
// by more than a few system calls: what it adds to a round trip is waking it, twice.
func serveBare(upstream string) error {
	runtime.GOMAXPROCS(256) // a thread that waits keeps its own
	return serveProcess(func(c net.Conn) {
		s, err := net.Dial("tcp", upstream)
		if err != nil {
			_ = c.Close()
			return
		}
		a, b := blocking(c), blocking(s)
		go carryBare(a, b)
		carryBare(b, a)
	})
}

// blocking returns a descriptor of a connection whose calls wait in the kernel, or -1.
func blocking(c net.Conn) int {
	defer func() { _ = c.Close() }()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return -1
	}
	defer func() { _ = f.Close() }()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return -1
	}
	if syscall.SetNonblock(fd, false) != nil {
		return -1
	}
	return fd
}

// carryBare carries one direction until it ends, and ends the other connection then.
func carryBare(from, to int) {
	runtime.LockOSThread()
	buffer := make([]byte, chunkSize)
	for {
		n, err := syscall.Read(from, buffer)
		if err == syscall.EINTR {
			continue
		}
		for data := buffer[:max(n, 0)]; len(data) > 0; {
			written, err := syscall.Write(to, data)
			if err != nil && err != syscall.EINTR {
				n = 0
				break
			}
			data = data[max(written, 0):]
		}
		if n <= 0 {
			_ = syscall.Shutdown(to, syscall.SHUT_WR) // it may be over already
			return
		}
	}
}
