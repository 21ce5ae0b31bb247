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

// check refuses what no path can be.
func (p pathText) check() error {
	switch {
	case len(p) > maxPath:
		return fmt.Errorf("path of %d bytes", len(p))
	case strings.IndexByte(string(p), 0) >= 0:
		return errors.New("path with a zero byte")
	}
	return nil
}

// checkUTF8 refuses texts of a TOC that were others in the tar. U+FFFD stands for bytes
// that are not UTF-8, which JSON cannot carry.
func (e *entry) checkUTF8() error {
	for _, text := range []string{e.Name, e.LinkName} {
		if !isWhole(text) {
			return errors.New("path that is not UTF-8 in the tar")
		}
	}
	for name := range e.Xattrs {
		if !isWhole(name) {
			return fmt.Errorf("extended attribute %.300q that is not UTF-8 in the tar", name)
		}
	}
	return nil
}

func isWhole(text string) bool {
	return utf8.ValidString(text) && !strings.Contains(text, string(utf8.RuneError))
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
