package netfilter

import "time"

// For tests from outside: those on real kernels use machines that use this package.
var (
	Example            = example
	EstablishedDefault = Timeout{Sysctl: EstablishedTimeout, Linux: 432000 * time.Second, protocol: TCP, attribute: 3}
)

// SetDefault sets the timeout as a node does whose /proc/sys is read-only.
func (t Timeout) SetDefault(seconds uint32) error {
	return setDefaultTimeout(t.protocol, t.attribute, seconds)
}

// Empty says whether the table is.
func (c *Conntrack) Empty() bool { return c.empty() }
