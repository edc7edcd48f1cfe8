package command

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/wslab/wslab/topology"
)

// What a program may run as.
const (
	userNobody = "nobody"
	userRoot   = "root"
)

// What the end of the program means.
const (
	exitFail = "fail"
	exitStay = "stay"
)

// Settings of a program in a lab file.
type Settings struct {
	Command Args              `json:"command,omitempty" doc:"The program and its arguments: a list, or one text that is split at spaces. A program of this host; with an image, one in it, instead of what the image runs by itself."`
	Image   string            `json:"image,omitempty" doc:"The container image that the node is made of (engine docker). With a command as well, other engines run the command of the host."`
	User    string            `json:"user,omitempty" doc:"Whom the program runs as: nobody has no privilege, but may listen on every port; root is the root of the lab. Without it nobody, or the user that the image names." enum:"nobody,root"`
	Env     map[string]string `json:"env,omitempty" doc:"Variables of its environment, beside those that every program gets."`
	Files   map[string]string `json:"files,omitempty" doc:"Files and what is in them. A relative path is in a directory of the node's own, the program's working directory; an absolute one lies over the file of that name, for this node alone."`
	Ready   string            `json:"ready,omitempty" doc:"When the node is ready: tcp/PORT, once something listens on that port. Without it as soon as the program runs; with proxy, on the proxy's port."`
	OnExit  string            `json:"on_exit" doc:"What the end of the program is: fail ends the node with an error, stay leaves it there." enum:"fail,stay"`
	// Certificate is a flag, for programs that end TLS.
	Certificate bool   `json:"certificate,omitempty" doc:"Writes cert.pem and key.pem into the working directory: a certificate of the lab's authority for the node's name and addresses."`
	Proxy       *Proxy `json:"proxy,omitempty" doc:"Says that the program is a proxy that clients can be sent through."`
	// URL is the lab's first server's, for the program's environment; the check of
	// the lab fills it in.
	URL string `json:"url,omitempty" yaml:"-"`
}

func newSettings() any { return &Settings{OnExit: exitFail} }

// Passage returns the proxy that the program is, nil if it is none.
func (s *Settings) Passage() topology.Passage {
	if s.Proxy == nil {
		return nil
	}
	return s.Proxy
}

// user is whom the program of the host runs as.
func (s *Settings) user() string {
	if s.User == "" && s.Image == "" {
		return userNobody
	}
	return s.User
}

// readyPort is the port that has to be listened on; 0 for none.
func (s *Settings) readyPort() int {
	if s.Ready == "" && s.Proxy != nil {
		return s.Proxy.listenPort()
	}
	port, err := parseReady(s.Ready)
	if err != nil {
		return 0 // reported by check
	}
	return port
}

// parseReady reads "tcp/3128"; "" is 0.
func parseReady(text string) (port int, err error) {
	if text == "" {
		return 0, nil
	}
	number, ok := strings.CutPrefix(text, "tcp/")
	port, err = strconv.Atoi(number)
	if !ok || err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("%q is no port to wait for", text)
	}
	return port, nil
}

// Args are a program and its arguments.
type Args []string

// DecodeValue reads a list, or one text that is split at spaces.
func (a *Args) DecodeValue(v *topology.Value) {
	if v.Kind() != topology.ScalarValue {
		var list []string
		v.Decode(&list)
		*a = list
		return
	}
	if strings.ContainsAny(v.Text(), `"'\$|&;<>`+"`") {
		v.Problemf(`write a list, such as [sh, -c, "..."]`, "no shell reads this: quotes and the like would reach the program as they are")
	}
	*a = strings.Fields(v.Text())
}

// Schema is a text or a list of them.
func (*Args) Schema() *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string"}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{text, {Type: "array", Items: text}}}
}

// check reports what is wrong with a program beyond its single keys.
func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	checkCommand(c, s)
	checkFiles(c, s)
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.HasPrefix(name, "WSLAB_") {
			c.Problemf("env", "", "%q cannot be the name of a variable here", name)
		}
	}
	if _, err := parseReady(s.Ready); err != nil {
		c.Problemf("ready", "write tcp/ and a port: tcp/3128", "%s", err)
	}
	if s.Proxy != nil {
		s.Proxy.check(c)
	}
	for _, n := range c.Lab.Nodes {
		if n.Kind != nil && n.Kind.Target {
			s.URL = "wss://" + n.Name + "/"
			break
		}
	}
}

func checkCommand(c *topology.NodeCheck, s *Settings) {
	switch {
	case len(s.Command) == 0 && c.InFile("command"):
		if s.Image == "" && !c.InFile("image") {
			c.Problemf("command", "such as [squid, -N, -f, squid.conf]", "%s has no program to run", c.Node.Name)
		}
	case len(s.Command) == 0 && s.Image == "":
		c.Problemf("", "give a command (a program of this host), an image (engine docker), or both", "%s has no program to run", c.Node.Name)
	case len(s.Command) > 0 && strings.Contains(s.Command[0], "/") && !path.IsAbs(s.Command[0]):
		c.Problemf("command", "write the whole path, from /", "%s begins in no directory that is known: the program's working directory is the node's own", s.Command[0])
	}
}

// checkFiles refuses paths that lead out of where files can be put.
func checkFiles(c *topology.NodeCheck, s *Settings) {
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		clean := path.Clean(name)
		switch {
		case name == "" || clean == "." || clean == "/" || strings.HasSuffix(name, "/"):
			c.Problemf("files", "", "%q is not the name of a file", name)
		case clean != name || clean == ".." || strings.HasPrefix(clean, "../"):
			c.Problemf("files", "", "%q has to be a plain path, without . and ..", name)
		case slices.Contains([]string{caFile, certificateFile, keyFile}, name) && (s.Certificate || name == caFile):
			c.Problemf("files", "give yours another name", "%s is a file that the node writes itself", name)
		case slices.Contains([]string{"/etc/hosts", "/etc/resolv.conf"}, name):
			c.Problemf("files", "", "%s is the lab's: it holds the names of the nodes", name)
		}
	}
}

// needs says what the machine of a program has to be given.
func needs(settings any) topology.Needs {
	s := settings.(*Settings)
	n := topology.Needs{
		Processes: true,
		Image:     s.Image,
		CA:        s.Certificate,
		// Ports below 1024 for programs that are not root.
		Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"},
	}
	if len(s.Command) > 0 {
		n.Program = s.Command[0]
	}
	return n
}
