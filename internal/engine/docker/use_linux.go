package docker

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
)

// An up that is under way uses the node image although no container may have it yet. It
// says so with a socket like the lock's: whoever is about to remove the image sees it in
// the list of sockets (proc_net(5)), and leaves the image to the lab that comes up.

// useAddress is the address that says so, use what those of all labs begin with.
func (e *Engine) useAddress(ref, lab string) (address, use string) {
	image := sha256.Sum256([]byte(e.client.DaemonHost() + "\n" + ref))
	name := sha256.Sum256([]byte(lab))
	use = "@wslab-up-" + hex.EncodeToString(image[:])[:32] + "-"
	return use + hex.EncodeToString(name[:])[:32], use
}

// useImage says that the lab is about to use the image, until release. The caller has the
// lab's lock.
func (e *Engine) useImage(ref, lab string) (release func(), err error) {
	address, _ := e.useAddress(ref, lab)
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, fmt.Errorf("use of the node image: %w", err)
	}
	return func() { _ = l.Close() }, nil
}

// used says whether a lab on its way up uses the image.
func (e *Engine) used(ref string) bool {
	_, use := e.useAddress(ref, "")
	return listening(use)
}

// listening says whether a socket listens in the abstract namespace whose address begins so.
func listening(address string) bool {
	sockets, err := os.Open("/proc/net/unix")
	if err != nil {
		return false // an up whose image is taken away brings it in again, and a run waits for a lab all the same
	}
	defer func() { _ = sockets.Close() }()
	for lines := bufio.NewScanner(sockets); lines.Scan(); {
		if strings.Contains(lines.Text(), " "+address) {
			return true
		}
	}
	return false
}
