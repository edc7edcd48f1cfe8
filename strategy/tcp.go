package strategy

import (
	"fmt"
	"net"
)

// setTCPKeepalive turns the kernel's keepalive of a connection on as t says, or
// off if t is nil: Go turns it on for every connection, which would keep alive
// what a strategy means to leave alone.
func setTCPKeepalive(conn net.Conn, t *TCPKeepalive) error {
	tcp := tcpConn(conn)
	if tcp == nil {
		return nil
	}
	config := net.KeepAliveConfig{Enable: false}
	if t != nil {
		config = net.KeepAliveConfig{Enable: true, Idle: t.Idle, Interval: t.Interval, Count: t.Count}
	}
	if err := tcp.SetKeepAliveConfig(config); err != nil {
		return fmt.Errorf("set TCP keepalive: %w", err)
	}
	return nil
}

// tcpConn returns the TCP connection under conn, which may be wrapped as [crypto/tls.Conn]
// is, or nil.
func tcpConn(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}
