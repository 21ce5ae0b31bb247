package install

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ladle-dev/ladle/durable"
)

// suffix ends the names of files that will replace others, and of configurations that are only
// checked. No glob for *.toml matches them.
const suffix = ".ladle-new"

// content is what is at a path: a file, a symbolic link, or, the zero value, nothing.
type content struct {
	SHA256 string      `json:"sha256,omitempty"` // of the bytes of the file, in hex
	Mode   fs.FileMode `json:"mode,omitempty"`   // its permissions
	UID    int         `json:"uid,omitempty"`
	GID    int         `json:"gid,omitempty"`
	Link   string      `json:"link,omitempty"` // what the link points to

	bytes []byte // of the file, if they are known
}

// fileOf is a file of root with these bytes.
func fileOf(b []byte, mode fs.FileMode) content {
	sum := sha256.Sum256(b)
	return content{SHA256: hex.EncodeToString(sum[:]), Mode: mode, bytes: b}
}

func linkTo(target string) content { return content{Link: target} }

func (c content) absent() bool { return c.SHA256 == "" && c.Link == "" }

// equal reports whether files have the same bytes and permissions, links the same target.
func (c content) equal(d content) bool {
	return c.SHA256 == d.SHA256 && c.Link == d.Link && (c.Link != "" || c.Mode == d.Mode)
}

// read returns what is at path.
func read(path string) (content, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return content{}, nil
	case err != nil:
		return content{}, err
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := os.Readlink(path)
		return linkTo(target), err
	case !info.Mode().IsRegular():
		return content{}, fmt.Errorf("%s is neither a file nor a symbolic link", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return content{}, err
	}
	c := fileOf(b, info.Mode().Perm())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		c.UID, c.GID = int(st.Uid), int(st.Gid)
	}
	return c, nil
}

// put makes c what is at path, whole or not at all, and waits until it is on disk.
func (c content) put(path string) error {
	if c.absent() {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return durable.SyncDir(filepath.Dir(path))
	}
	if c.Link != "" {
		return c.putLink(path)
	}
	temp := path + suffix
	if err := c.write(temp); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	return durable.Replace(temp, path)
}

func (c content) write(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(c.bytes); err != nil {
		return err
	}
	if err := f.Chmod(c.Mode); err != nil {
		return err
	}
	if err := f.Chown(c.UID, c.GID); err != nil {
		return err
	}
	return f.Sync()
}

// putLink makes the link in the directory above first: containerd runs whatever is in the
// directory of image verifiers.
func (c content) putLink(path string) error {
	dir := filepath.Dir(path)
	temp := filepath.Join(filepath.Dir(dir), filepath.Base(path)+suffix)
	if err := removeIfThere(temp); err != nil {
		return err
	}
	if err := os.Symlink(c.Link, temp); err != nil {
		return err
	}
	return durable.Replace(temp, path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeDirs makes the directories above path that are not there, and returns them, the topmost
// first.
func makeDirs(path string) (made []string, err error) {
	dir := filepath.Dir(path)
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		made = append([]string{d}, made...)
	}
	return made, os.MkdirAll(dir, 0o755)
}
