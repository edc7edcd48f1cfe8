package command

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nsexec"
)

// files are where things are that the node has put there for its program.
type files struct {
	base string // of everything
	work string // the program's own directory
	ca   string // the lab's certificate authority, "" for none
}

// workSize bounds what a program can write into its directory.
const workSize = "size=64m"

// prepare makes the node's directory anew and writes its files. In a container
// that is in the container's own file system; else it is in memory, in the node's
// own mount namespace, so that nothing of it is left when the node is gone.
func prepare(env *node.Env, s *Settings, who identity, image bool) (*files, error) {
	f := &files{base: nsexec.Scratch}
	if image {
		f.base = node.ImageDir
	}
	f.work = filepath.Join(f.base, "work")
	if err := f.empty(image, who); err != nil {
		return nil, fmt.Errorf("the node's directory: %w", err)
	}
	if env.Spec.CA != nil {
		f.ca = filepath.Join(f.base, caFile)
		if err := os.WriteFile(f.ca, []byte(env.Spec.CA.CertPEM), 0o644); err != nil {
			return nil, err
		}
	}
	if s.Certificate {
		if err := f.certify(env, who); err != nil {
			return nil, err
		}
	}
	for name, content := range s.Files {
		err := f.put(name, content, who, image)
		if errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(name) {
			err = fmt.Errorf("there is no %s on this host that another could lie over", name)
		}
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", name, err)
		}
	}
	return f, nil
}

// empty makes the program's directory as if it had never been used.
func (f *files) empty(image bool, who identity) error {
	over, err := os.ReadDir(f.over())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range over {
		if name, err := url.PathUnescape(e.Name()); err == nil {
			_ = unix.Unmount(name, unix.MNT_DETACH) // as it was before the restart
		}
	}
	if err := os.RemoveAll(f.over()); err != nil {
		return err
	}
	if image {
		if err := os.RemoveAll(f.work); err != nil {
			return err
		}
	} else {
		_ = unix.Unmount(f.work, unix.MNT_DETACH) // there is none at the first start
	}
	if err := os.MkdirAll(f.work, 0o755); err != nil {
		return err
	}
	if !image {
		if err := unix.Mount("wslab", f.work, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,"+workSize); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", f.work, err)
		}
	}
	return f.give(f.work, who)
}

// over is where the files are that lie over others.
func (f *files) over() string { return filepath.Join(f.base, "over") }

func (f *files) give(name string, who identity) error {
	uid, gid := who.owner()
	return os.Chown(name, uid, gid)
}

// put writes a file of the lab file.
func (f *files) put(name, content string, who identity, image bool) error {
	if !filepath.IsAbs(name) {
		full := filepath.Join(f.work, name)
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			defer func() { _ = f.give(filepath.Join(f.work, dir), who) }()
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			return err
		}
		return f.give(full, who)
	}
	if image {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return os.WriteFile(name, []byte(content), 0o644)
	}
	if err := os.MkdirAll(f.over(), 0o755); err != nil {
		return err
	}
	from := filepath.Join(f.over(), url.PathEscape(name))
	if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
		return err
	}
	return unix.Mount(from, name, "", unix.MS_BIND, "")
}

// certify writes a certificate for the node's name and addresses, and its key.
func (f *files) certify(env *node.Env, who identity) error {
	var ips []net.IP
	for _, i := range env.Spec.Interfaces {
		ips = append(ips, i.Addr.Addr().AsSlice())
	}
	cert, err := ca.Issue(env.Spec.CA, []string{env.Spec.Name}, ips)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		certificateFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:         {Type: "PRIVATE KEY", Bytes: key},
	} {
		full := filepath.Join(f.work, name)
		if err := os.WriteFile(full, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
		if err := f.give(full, who); err != nil {
			return err
		}
	}
	return nil
}
