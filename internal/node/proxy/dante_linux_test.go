package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/topology"
)

// socksCase is a client at a SOCKS5 proxy: what it writes, and after each write waits for.
type socksCase struct {
	name  string
	sends []string
}

// socksDifference is where wslab's proxy does not do as Dante does.
type socksDifference struct {
	dante, wslab, why string
}

const (
	offerNone     = "\x05\x01\x00"
	offerPassword = "\x05\x01\x02"
	connectIPv4   = "\x05\x01\x00\x01"
)

func connectName(name string, port uint16) string {
	return "\x05\x01\x00\x03" + string(rune(len(name))) + name + string([]byte{byte(port >> 8), byte(port)})
}

// socksCases are played against both. What is at 10.9.0.2 echoes on port 8080.
func socksCases() []socksCase {
	echo := connectIPv4 + "\x0a\x09\x00\x02\x1f\x90"
	return []socksCase{
		{"IPv4", []string{offerNone, echo, "ping"}},
		{"name", []string{offerNone, connectName("server", 8080), "ping"}},
		{"IPv6 with IPv4 in it", []string{offerNone, "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x09\x00\x02\x1f\x90", "ping"}},
		{"in one piece", []string{offerNone + echo + "ping"}},
		{"reserved byte set", []string{offerNone, "\x05\x01\x07\x01\x0a\x09\x00\x02\x1f\x90", "ping"}},
		{"01: prohibited by the kernel", []string{offerNone, connectIPv4 + "\xc6\x33\x65\x01\x00\x50"}},
		{"02: network", []string{offerNone, connectIPv4 + "\x7f\x00\x00\x03\x1f\x90"}},
		{"02: port", []string{offerNone, connectIPv4 + "\x7f\x00\x00\x01\x00\x19"}},
		{"02: domain", []string{offerNone, connectName("www.blocked.test", 8080)}},
		{"03", []string{offerNone, connectIPv4 + "\xc6\x12\x00\x01\x00\x50"}},
		{"03: IPv6", []string{offerNone, "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"}},
		{"04", []string{offerNone, connectIPv4 + "\xc6\x33\x64\x01\x00\x50"}},
		{"04: no such name", []string{offerNone, connectName("nosuch.test", 80)}},
		{"04: empty name", []string{offerNone, connectName("", 80)}},
		{"05", []string{offerNone, connectIPv4 + "\x0a\x09\x00\x02\x1f\x91"}},
		{"06: no answer", []string{offerNone, connectIPv4 + "\x0a\x09\x00\x4d\x00\x50"}},
		{"07: BIND", []string{offerNone, "\x05\x02\x00\x01\x0a\x09\x00\x02\x00\x50"}},
		{"07: UDP ASSOCIATE", []string{offerNone, "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"}},
		{"07: no command", []string{offerNone, "\x05\x09\x00\x01\x0a\x09\x00\x02\x00\x50"}},
		{"08", []string{offerNone, "\x05\x01\x00\x02\x00\x00\x00\x00\x00\x00"}},
		{"port 0", []string{offerNone, connectIPv4 + "\x0a\x09\x00\x02\x00\x00"}},
		{"FF: GSSAPI only", []string{"\x05\x01\x01"}},
		{"FF: no methods", []string{"\x05\x00"}},
		{"both offered", []string{"\x05\x02\x00\x02"}},
		{"password", []string{offerPassword, "\x01\x05alice\x06secret", echo, "ping"}},
		{"wrong password", []string{offerPassword, "\x01\x05alice\x05wrong"}},
		{"unknown user", []string{offerPassword, "\x01\x03bob\x06secret"}},
		{"empty name and password", []string{offerPassword, "\x01\x00\x00"}},
		{"another version of the negotiation", []string{offerPassword, "\x02\x05alice\x06secret"}},
		{"request of version 4", []string{offerNone, "\x04\x01\x00\x01\x0a\x09\x00\x02\x1f\x90"}},
		{"SOCKS4", []string{"\x04\x01\x1f\x90\x0a\x09\x00\x02\x00"}},
		{"HTTP", []string{"GET / HTTP/1.0\r\n\r\n"}},
		{"TLS", []string{"\x16\x03\x01\x02\x00"}},
	}
}

// socksDifferences by case. Elsewhere wslab's proxy answers byte for byte as Dante does.
func socksDifferences() map[string]socksDifference {
	const tried = "Dante names the socket that it tried with; a dial that failed has none to name any more"
	return map[string]socksDifference{
		"01: prohibited by the kernel": {"0500 050100010a090001PORT FIN", "0500 05010001000000000000 FIN", tried},
		"03":                           {"0500 050300010a090001PORT FIN", "0500 05030001000000000000 FIN", tried},
		"04":                           {"0500 050400010a090001PORT FIN", "0500 05040001000000000000 FIN", tried},
		"05":                           {"0500 050500010a090001PORT FIN", "0500 05050001000000000000 FIN", tried},
		"04: no such name": {"0500 050400030b6e6f737563682e746573740050 FIN", "0500 05040001000000000000 FIN",
			"wslab's proxy learns it from the dial, as any other failure of it"},
		"03: IPv6": {"0500 0502000420010db80000000000000000000000010050 FIN", "0500 05030001000000000000 FIN",
			"Dante has no address of its own of that family and lets no rule fit; the kernel says that there is no route"},
		"07: BIND": {"0500 050200010a0900020050 FIN", "0500 050700010a0900020050 FIN",
			"Dante implements BIND, its rules deny it; wslab's proxy has CONNECT only"},
		"07: UDP ASSOCIATE": {"0500 05020001000000000000 FIN", "0500 05070001000000000000 FIN",
			"as BIND"},
		"07: no command": {"0500 FIN", "0500 050700010a0900020050 FIN",
			"Dante closes on what it cannot parse; RFC 1928 section 6 has a reply for it"},
		"08": {"0500 FIN", "0500 05080001000000000000 FIN",
			"as an unknown command"},
		"port 0": {"0500 050800010a0900020000 FIN", "0500 050100010a0900020000 FIN",
			"Dante takes a port of 0 for an address of a bad type; it is none of the reasons that RFC 1928 lists"},
		"request of version 4": {"0500 ...", "0500 05010001000000000000 FIN",
			"Dante waits for the rest of a SOCKS4 request"},
		"SOCKS4": {"005aPORT0a090001 ...", "FIN",
			"Dante speaks SOCKS4 as well"},
	}
}

func TestSOCKS5AsDante(t *testing.T) {
	danted := requirePeer(t, "danted", "dante-server")
	h, far := nodetest.NewHost(t, "socks-proxy"), nodetest.NewHost(t, "far")
	nodetest.Cable(t, h, "10.9.0.1/24", far, "10.9.0.2/24")
	h.MustDo(t, deadEnds)
	echoAt(t, far.Listen(t, "10.9.0.2:8080"))
	hosts := map[string]netip.Addr{"server": netip.MustParseAddr("10.9.0.2"), "www.blocked.test": netip.MustParseAddr("10.9.0.3")}
	startDante(t, h, danted, hosts)
	t.Setenv("WSLAB_PRIVATE_ETC", "1")
	settings := newSettings()
	settings.Protocol, settings.Users = protocolSOCKS5, map[string]string{"alice": "secret"}
	settings.Methods = []string{"password", "none"}
	settings.ConnectTimeout = time.Second
	settings.Rules = []SOCKS5Rule{
		{Action: "deny", To: []string{"127.0.0.3"}},
		{Action: "deny", Ports: []int{25}},
		{Action: "deny", To: []string{".blocked.test"}},
		{Action: "allow"},
	}
	h.Start(t, Kind(), settings, topology.NodeSpec{
		Interfaces: []topology.Interface{nodetest.Interface("lan", "10.9.0.1/24")}, Hosts: hosts,
	})
	differences := socksDifferences()
	for _, c := range socksCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dante, ours := playSOCKS(t, h, "127.0.0.1:1081", c), playSOCKS(t, h, "127.0.0.1:1080", c)
			want, differs := differences[c.name]
			if !differs {
				want = socksDifference{dante: dante, wslab: dante}
			}
			if dante != want.dante {
				t.Errorf("Dante answers %s, the table says %s", dante, want.dante)
			}
			if ours != want.wslab {
				t.Errorf("wslab answers %s, not %s; Dante %s", ours, want.wslab, dante)
			}
		})
	}
}

// playSOCKS returns what a client sees: what comes after each write, in hexadecimal, and
// the end; "..." where nothing comes.
func playSOCKS(t *testing.T, h *nodetest.Host, proxy string, c socksCase) string {
	t.Helper()
	conn := h.MustDial(t, proxy)
	defer func() { _ = conn.Close() }()
	var seen []string
	in := bufio.NewReader(conn)
	for i, send := range c.sends {
		if _, err := io.WriteString(conn, send); err != nil {
			break // it has closed: the read tells how
		}
		patience := nodetest.Patience
		if c.name == "request of version 4" {
			patience = 2 * time.Second // Dante waits for more
		}
		for {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			b, err := readMessage(in, len(seen))
			switch {
			case err == nil:
				seen = append(seen, hidePort(b))
			case errors.Is(err, io.EOF):
				return strings.Join(append(seen, "FIN"), " ")
			case errors.Is(err, syscall.ECONNRESET):
				return strings.Join(append(seen, "RST"), " ")
			default:
				return strings.Join(append(seen, "..."), " ")
			}
			if i < len(c.sends)-1 {
				break
			}
			patience = 500 * time.Millisecond // after the last answer: is there more, or an end?
		}
	}
	return strings.Join(seen, " ")
}

// readMessage reads the nth message of a proxy, by its length.
func readMessage(in *bufio.Reader, n int) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	size := 2 // a choice of a method, or a status
	switch {
	case head[0] == 0:
		size = 8 // SOCKS4
	case head[0] == 'p':
		size = 4 // an echo
	case head[0] == 5 && n > 0:
		if head, err = in.Peek(5); err != nil {
			return nil, err
		}
		size = map[byte]int{addressIPv4: 10, addressIPv6: 22, addressDomain: 7 + int(head[4])}[head[3]]
	}
	b := make([]byte, size)
	_, err = io.ReadFull(in, b)
	return b, err
}

// hidePort takes the port out that the kernel has chosen.
func hidePort(b []byte) string {
	if len(b) == 8 && b[0] == 0 { // SOCKS4
		return fmt.Sprintf("%xPORT%x", b[:2], b[4:])
	}
	if len(b) >= 10 && b[0] == 5 && b[3] == addressIPv4 && (b[8] != 0 || b[9] != 0) && int(b[8])<<8|int(b[9]) > 9000 {
		return fmt.Sprintf("%xPORT%x", b[:8], b[10:])
	}
	return fmt.Sprintf("%x", b)
}

// deadEnds makes destinations that cannot be reached, each for a reason of its own.
func deadEnds() error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	mac, _ := net.ParseMAC("02:00:00:00:00:4d")
	silent := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 9, 0, 77), HardwareAddr: mac}
	if err := netlink.NeighAdd(silent); err != nil {
		return err
	}
	for network, kind := range map[string]int{"198.51.100.0/24": unix.RTN_UNREACHABLE, "198.51.101.0/24": unix.RTN_PROHIBIT} {
		_, dst, err := net.ParseCIDR(network)
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Type: kind}); err != nil {
			return err
		}
	}
	return nil
}

func echoAt(t *testing.T, l net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

// startDante runs danted on port 1081 of a machine, in the foreground, with names, users
// and passwords of its own.
func startDante(t *testing.T, h *nodetest.Host, danted string, hosts map[string]netip.Addr) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	names := "127.0.0.1 localhost\n"
	for name, a := range hosts {
		names += a.String() + " " + name + "\n"
	}
	nobody := "65534:65534"
	if onlyUser() {
		nobody = "0:0"
	}
	// The password is "secret".
	const crypted = "$6$salt$egUxKNxDs8kPfh8iPMNcosMhb2eWah6d3R44JDm5Rj/j/XWR5E33QPd0YmHXoDHOIDR6kL5D3JcQcz0O8FHE00"
	own := map[string]string{
		"/etc/hosts":       file("hosts", names),
		"/etc/resolv.conf": file("resolv.conf", ""),
		"/etc/passwd":      file("passwd", "root:x:0:0::/:/bin/sh\nnobody:x:"+nobody+"::/:/bin/sh\nalice:x:4242:4242::/:/bin/sh\n"),
		"/etc/shadow":      file("shadow", "root:*:19000::::::\nnobody:*:19000::::::\nalice:"+crypted+":19000::::::\n"),
	}
	config := file("danted.conf", `
logoutput: stderr
internal: 127.0.0.1 port = 1081
external: eth0
external: lo
external.rotation: route
socksmethod: username none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
timeout.connect: 1
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks block { from: 0.0.0.0/0 to: 127.0.0.3/32 }
socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 port = 25 }
socks block { from: 0.0.0.0/0 to: .blocked.test }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }
`)
	script := ""
	for target, source := range own {
		script += "mount --bind " + source + " " + target + " && "
	}
	script += "exec " + danted + " -f " + config + " -p " + filepath.Join(dir, "pid")
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	h.MustDo(t, cmd.Start)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it takes its children with it
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("danted:\n%s", log.String())
		}
	})
	awaitListener(t, h, "127.0.0.1:1081")
}

// awaitListener waits until somebody listens at an address of a machine.
func awaitListener(t *testing.T, h *nodetest.Host, address string) {
	t.Helper()
	for end := time.Now().Add(nodetest.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := h.Dial(t, address); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nobody listens at %s", address)
}
