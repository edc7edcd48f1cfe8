package netfilter

import "time"

// EstablishedTimeout is the sysctl that says how long an established TCP connection
// may be silent before its entry expires, in seconds (nf_conntrack-sysctl in the
// kernel's documentation).
const EstablishedTimeout = "net.netfilter.nf_conntrack_tcp_timeout_established"

// Timeout is one of the kernel's timeouts for what is not an established connection.
type Timeout struct {
	// Sysctl that holds it, in seconds.
	Sysctl string
	// Linux is what it is when nobody changes it (nf_conntrack-sysctl in the kernel's
	// documentation).
	Linux time.Duration

	protocol  uint8
	attribute uint16 // of nfnetlink_cttimeout, for a protocol
}

// TransitoryTimeouts are those of TCP connections that are only half open or half
// closed, as RFC 5382, section 5, has it ("transitory"). That of a connection that a RST
// has ended is not among them.
func TransitoryTimeouts() []Timeout {
	const tcp = "net.netfilter.nf_conntrack_tcp_timeout_"
	return []Timeout{
		{tcp + "syn_sent", 120 * time.Second, TCP, 1},
		{tcp + "syn_recv", 60 * time.Second, TCP, 2},
		{tcp + "fin_wait", 120 * time.Second, TCP, 4},
		{tcp + "close_wait", 60 * time.Second, TCP, 5},
		{tcp + "last_ack", 30 * time.Second, TCP, 6},
		{tcp + "time_wait", 120 * time.Second, TCP, 7},
	}
}

// UDPTimeouts are those of UDP, before and after the first answers.
func UDPTimeouts() []Timeout {
	return []Timeout{
		{"net.netfilter.nf_conntrack_udp_timeout", 30 * time.Second, UDP, 1},
		{"net.netfilter.nf_conntrack_udp_timeout_stream", 120 * time.Second, UDP, 2},
	}
}
