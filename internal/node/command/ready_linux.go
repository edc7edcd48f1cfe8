package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// listens returns true once something listens on the port inside the node, false when
// ctx has ended. Port 0 is always there. Nothing is connected to: proxies write down
// every connection, and some do more.
func listens(ctx context.Context, port int) bool {
	for {
		if port == 0 || listened(port) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(portPoll):
		}
	}
}

// listened looks at the node's listening sockets, see proc_net_tcp in the kernel's documentation.
func listened(port int) bool {
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		sockets, err := os.ReadFile(file)
		if err != nil {
			continue // a kernel without IPv6
		}
		for line := range strings.Lines(string(sockets)) {
			// sl local_address rem_address st ...
			fields := strings.Fields(line)
			if len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				return true
			}
		}
	}
	return false
}
