package index

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// What Linux lets a name (NAME_MAX) and a path (PATH_MAX less its NUL) have,
// in bytes. The latter bounds the depth of a tree, too.
const (
	maxName = 255
	maxPath = 4095
)

// A pathText is a text of a TOC that stands for a path or a part of one.
type pathText string

// check refuses what no path can be. U+FFFD stands for bytes that are not
// UTF-8, which JSON cannot carry: the name in the tar was another one.
func (p pathText) check() error {
	switch {
	case len(p) > maxPath:
		return fmt.Errorf("path of %d bytes", len(p))
	case strings.IndexByte(string(p), 0) >= 0:
		return errors.New("path with a zero byte")
	case !utf8.ValidString(string(p)) || strings.Contains(string(p), string(utf8.RuneError)):
		return errors.New("path that is not UTF-8 in the tar")
	}
	return nil
}

// split returns the directory that p is in, "" for the root, and its name
// there, which is "" for the root itself. As in Apply there is nothing above
// the root: absolute paths and ".." start there.
func (p pathText) split() (dir, name string, err error) {
	if err := p.check(); err != nil {
		return "", "", err
	}
	dir, name = path.Split(path.Clean("/" + string(p)))
	dir = strings.Trim(dir, "/")
	return dir, name, checkName(name)
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("name of %d bytes", len(name))
	}
	return nil
}
