package link

// Probe says whether packets can be held here: an error tells what the kernel lacks. It takes
// away what it tries, and the conditions that this network namespace has with it.
func Probe() error {
	q, err := openQueue(1)
	if err != nil {
		return err
	}
	if err := install([]rule{{ifname: "lo", queue: 1}}); err != nil {
		_ = q.nf.Close()
		return err
	}
	if err := install(nil); err != nil {
		_ = q.nf.Close()
		return err
	}
	return q.nf.Close()
}

// ProbeDuplicates says whether packets can be made to arrive twice at an interface.
func ProbeDuplicates(ifname string) error {
	a, err := openAgain(ifname)
	if err != nil {
		return err
	}
	a.close()
	return nil
}
