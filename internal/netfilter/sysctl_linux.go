package netfilter

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Sysctl reads a sysctl that is a number.
func Sysctl(name string) (int, error) {
	raw, err := os.ReadFile(sysctlPath(name))
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", name, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", name, err)
	}
	return n, nil
}

// EnsureSysctl makes a sysctl what it has to be, if it is not. In a container it can
// be read only: the engine has to have set it.
func EnsureSysctl(name string, value int) error {
	if has, err := Sysctl(name); err != nil || has == value {
		return err
	}
	if err := os.WriteFile(sysctlPath(name), []byte(strconv.Itoa(value)), 0); err != nil {
		return fmt.Errorf("sysctl %s is not %d and cannot be set here: %w", name, value, err)
	}
	return nil
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// SetEstablishedTimeout makes d, in whole seconds, the time that
// [EstablishedTimeout] stands for. Where the sysctl is read-only it is set over netlink.
func SetEstablishedTimeout(d time.Duration) error {
	const tcpEstablished = 3
	return Timeout{Sysctl: EstablishedTimeout, protocol: TCP, attribute: tcpEstablished}.Set(d)
}

// Set makes the timeout d, in whole seconds; 0 is what it is on Linux. Where the sysctl
// is read-only it is set over netlink.
func (t Timeout) Set(d time.Duration) error {
	if d == 0 {
		d = t.Linux
	}
	err := EnsureSysctl(t.Sysctl, int(seconds(d)))
	if err == nil {
		return nil
	}
	if setDefaultTimeout(t.protocol, t.attribute, seconds(d)) == nil {
		return nil
	}
	return err
}

// setDefaultTimeout is `nfct timeout default-set inet PROTOCOL STATE N`
// (linux/netfilter/nfnetlink_cttimeout.h).
func setDefaultTimeout(protocol uint8, attribute uint16, seconds uint32) error {
	const (
		msgDefaultSet = 3
		ctaL3Proto    = 2
		ctaL4Proto    = 3
		ctaData       = 4
	)
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	raw, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: ctaL3Proto, Data: be16(unix.AF_INET)},
		{Type: ctaL4Proto, Data: []byte{protocol}},
		nest(ctaData, netlink.Attribute{Type: attribute, Data: be32(seconds)}),
	})
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: subsysTimeout<<8 | msgDefaultSet, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(nfgenmsg(unix.AF_UNSPEC, 0), raw...),
	})
	return err
}
