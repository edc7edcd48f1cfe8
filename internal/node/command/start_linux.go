package command

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nsexec"
)

// nobody is the number of the user and the group that may do nothing.
const nobody = 65534

// start is a program that is ready to be started.
type start struct {
	args []string
	path string
	dir  string
	env  []string
	attr *syscall.SysProcAttr
	// uid and gid own what is the program's.
	uid, gid int
}

// newStart prepares the node's files and works out what is to be started, as whom,
// and what it sees.
func newStart(env *node.Env, s *Settings) (*start, error) {
	image, err := node.ImageFromEnviron()
	if err != nil {
		return nil, err
	}
	st := &start{args: s.Command}
	who := identity{}
	if image != nil {
		if who, err = imageUser(s.user(), image.User); err != nil {
			return nil, err
		}
	} else if s.user() == userNobody {
		who = hostNobody()
	}
	files, err := prepare(env, s, who, image != nil)
	if err != nil {
		return nil, err
	}
	st.dir = files.work
	if image != nil && len(s.Command) == 0 {
		st.args = slices.Concat(image.Entrypoint, image.Cmd)
		st.dir = image.WorkingDir
		if st.dir == "" {
			st.dir = "/"
		}
		if err := os.MkdirAll(st.dir, 0o755); err != nil { // as Docker does
			return nil, fmt.Errorf("the image's working directory: %w", err)
		}
	}
	if len(st.args) == 0 {
		return nil, fmt.Errorf("image %s names no program to run: give a command", s.Image)
	}
	st.env = environ(env, s, files, who, image != nil)
	if st.path, err = lookUp(st.args[0], st.env); err != nil {
		return nil, err
	}
	st.uid, st.gid = who.owner()
	st.attr = who.attr()
	return st, nil
}

// run starts the program with its output going to out.
func (s *start) run(out *os.File) (pid int, err error) {
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = nothing.Close() }()
	// Programs write their logs to /dev/stderr, which opens the pipe anew.
	if err := out.Chown(s.uid, s.gid); err != nil {
		return 0, fmt.Errorf("output of %s: %w", s.args[0], err)
	}
	p, err := os.StartProcess(s.path, s.args, &os.ProcAttr{
		Dir: s.dir, Env: s.env, Files: []*os.File{nothing, out, out}, Sys: s.attr,
	})
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: the user that it is to run as may not; give the path of a program that everybody may run, or user: root", err)
	}
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", s.args[0], err)
	}
	pid = p.Pid
	return pid, p.Release() // reap collects it
}

// identity is whom a program runs as. The zero value is who the node is.
type identity struct {
	uid, gid uint32
	groups   []uint32
	home     string
	// given says that uid and gid are to be taken on.
	given bool
	// nested says that they are to be taken on in a user namespace inside the lab's,
	// which maps no other user than root.
	nested bool
}

// hostNobody is an ordinary user of the host, whoever runs the lab.
func hostNobody() identity {
	who := identity{uid: nobody, gid: nobody, given: true}
	who.nested = !mapped("/proc/self/uid_map", nobody) || !mapped("/proc/self/gid_map", nobody)
	return who
}

// mapped says whether a user namespace has that number.
func mapped(file string, id uint64) bool {
	ranges, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(ranges)) {
		var inside, outside, size uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err == nil && id >= inside && id-inside < size {
			return true
		}
	}
	return false
}

// imageUser works out what an image's USER means in its own /etc/passwd and
// /etc/group; asked is what the lab file wants instead.
func imageUser(asked, named string) (identity, error) {
	switch asked {
	case userNobody:
		return identity{uid: nobody, gid: nobody, given: true}, nil
	case userRoot:
		return identity{home: "/root"}, nil
	}
	if named == "" {
		return identity{home: "/root"}, nil
	}
	name, group, hasGroup := strings.Cut(named, ":")
	who := identity{given: true, home: "/"}
	u, err := user.Lookup(name)
	if number, errNumber := strconv.ParseUint(name, 10, 32); errNumber == nil {
		who.uid = uint32(number)
		u, err = user.LookupId(name)
		if err != nil {
			u, err = nil, nil // a number needs no name
		}
	}
	if err != nil {
		return who, fmt.Errorf("the image's user %q: %w", named, err)
	}
	if u != nil {
		who.home = u.HomeDir
		who.uid, who.gid = number(u.Uid), number(u.Gid)
		if ids, err := u.GroupIds(); err == nil && !hasGroup {
			for _, id := range ids {
				who.groups = append(who.groups, number(id))
			}
		}
	}
	if !hasGroup {
		return who, nil
	}
	if gid, err := strconv.ParseUint(group, 10, 32); err == nil {
		who.gid = uint32(gid)
		return who, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return who, fmt.Errorf("the image's user %q: %w", named, err)
	}
	who.gid = number(g.Gid)
	return who, nil
}

func number(id string) uint32 {
	n, _ := strconv.ParseUint(id, 10, 32) // from /etc/passwd or /etc/group
	return uint32(n)
}

// attr makes the program a process group of its own, as that user.
func (i identity) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	switch {
	case i.nested:
		attr.Cloneflags = unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: int(i.uid), HostID: 0, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: int(i.gid), HostID: 0, Size: 1}}
	case i.given:
		attr.Credential = &syscall.Credential{Uid: i.uid, Gid: i.gid, Groups: i.groups}
	}
	return attr
}

// owner is who has to own a file so that it is the program's.
func (i identity) owner() (uid, gid int) {
	if i.nested || !i.given {
		return 0, 0
	}
	return int(i.uid), int(i.gid)
}

// systemPath is where programs of the system are that not everybody has in PATH.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ is the environment of the program.
func environ(env *node.Env, s *Settings, files *files, who identity, image bool) []string {
	all := make(map[string]string)
	if image {
		for _, entry := range os.Environ() {
			name, value, _ := strings.Cut(entry, "=")
			if !strings.HasPrefix(name, "WSLAB_") {
				all[name] = value
			}
		}
		if who.home != "" {
			all["HOME"] = who.home
		}
	} else {
		all["PATH"] = strings.Trim(os.Getenv("PATH")+":"+systemPath, ":")
		all["HOME"], all["LANG"] = files.work, "C.UTF-8"
	}
	all["WSLAB_LAB"], all["WSLAB_NODE"], all["WSLAB_DIR"] = env.Spec.Lab, env.Spec.Name, files.work
	if s.URL != "" {
		all["WSLAB_URL"] = s.URL
	}
	for _, i := range env.Spec.Interfaces {
		all["WSLAB_ADDR_"+strings.ToUpper(strings.ReplaceAll(i.Network, "-", "_"))] = i.Addr.Addr().String()
	}
	if files.ca != "" {
		for _, name := range nsexec.TrustVariables() {
			all[name] = files.ca
		}
	}
	maps.Copy(all, s.Env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}

// lookUp finds a program in the PATH of an environment.
func lookUp(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, entry := range env {
		path, ok := strings.CutPrefix(entry, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			full := filepath.Join(dir, name)
			if filepath.IsAbs(full) {
				if _, err := exec.LookPath(full); err == nil {
					return full, nil
				}
			}
		}
	}
	return "", fmt.Errorf("there is no program %s", name)
}
