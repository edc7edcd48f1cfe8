package nsexec

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// PrivateEtc gives this process, which must have a mount namespace of its own
// already, an /etc/hosts with these names and no others, and a resolver that asks
// nobody. Nothing is written to the file system beneath.
func PrivateEtc(hosts map[string]netip.Addr) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separate the mount namespace: %w", err)
	}
	if err := unix.Mount("wslab", Scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=4m"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", Scratch, err)
	}
	if err := put("hosts", hostsFile(hosts), "/etc/hosts"); err != nil {
		return err
	}
	return put("resolv.conf", resolvConf, "/etc/resolv.conf")
}

// PrivateProc gives this process, which must have a mount namespace of its own
// already, a /proc of its own PID namespace.
func PrivateProc() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a /proc of the node's own: %w", err)
	}
	return nil
}
