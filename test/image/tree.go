package image

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// tree is a whole root filesystem, read from a tar of it.
type tree struct {
	file  *os.File
	nodes map[string]*node
}

// node is one path of a tree.
type node struct {
	header tar.Header // Name and Linkname without leading "./"; never TypeLink
	offset int64      // of the content in the tree's file
	sum    [sha256.Size]byte
	// group is the sorted list of all paths of the same file; of length 1 for
	// a file without hard links.
	group *[]string
}

// readTree reads a tar of a root filesystem. The file stays open: the contents
// are read from it when a layer is written. The caller closes it.
func readTree(file *os.File) (*tree, error) {
	t := &tree{file: file, nodes: map[string]*node{}}
	counted := &countingReader{r: file}
	tr := tar.NewReader(counted)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("image: %s: %w", file.Name(), err)
		}
		if err := t.add(h, counted.n, tr); err != nil {
			return nil, err
		}
	}
	for _, n := range t.nodes {
		slices.Sort(*n.group)
	}
	return t, nil
}

func (t *tree) add(h *tar.Header, offset int64, content io.Reader) error {
	name := cleanName(h.Name)
	if name == "" {
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		target, ok := t.nodes[cleanName(h.Linkname)]
		if !ok {
			return fmt.Errorf("image: %q links to unknown %q", h.Name, h.Linkname)
		}
		*target.group = append(*target.group, name)
		t.nodes[name] = target
		return nil
	}
	n := &node{header: plainHeader(h), offset: offset, group: &[]string{name}}
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return fmt.Errorf("image: %q: %w", h.Name, err)
	}
	sum.Sum(n.sum[:0])
	t.nodes[name] = n
	return nil
}

// content is the content of a regular file of the tree.
func (t *tree) content(n *node) io.Reader {
	return io.NewSectionReader(t.file, n.offset, n.header.Size)
}

// get finds a path that a recipe relies on.
func (t *tree) get(name string) (*node, error) {
	n, ok := t.nodes[name]
	if !ok {
		return nil, fmt.Errorf("image: root filesystem has no %q", name)
	}
	return n, nil
}

// difference is the layer that turns the tree below into the tree t: what was
// added or changed with all its parent directories, and a whiteout for what is
// gone. A nil tree below is empty.
func (t *tree) difference(below *tree) Layer {
	if below == nil {
		below = &tree{}
	}
	changed := map[string]bool{}
	for name, n := range t.nodes {
		if n.equal(below.nodes[name]) {
			continue
		}
		for _, p := range *n.group {
			for ; p != "."; p = path.Dir(p) {
				changed[p] = true
			}
		}
	}
	gone := map[string]bool{}
	for name := range below.nodes {
		if t.nodes[name] == nil && t.hasDir(path.Dir(name)) {
			gone[name] = true
			for p := path.Dir(name); p != "."; p = path.Dir(p) {
				changed[p] = true
			}
		}
	}
	return func(w *tar.Writer) error { return t.write(w, changed, gone) }
}

func (t *tree) write(w *tar.Writer, changed, gone map[string]bool) error {
	all := slices.Collect(maps.Keys(changed))
	all = append(all, slices.Collect(maps.Keys(gone))...)
	slices.Sort(all)
	for _, name := range all {
		var err error
		if gone[name] {
			err = put(w, whiteout(name), "")
		} else {
			err = t.writeNode(w, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) writeNode(w *tar.Writer, name string) error {
	n := t.nodes[name]
	h := n.header
	h.Name = (*n.group)[0]
	if name != h.Name {
		return put(w, hardlink(name, h), "")
	}
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	return putFrom(w, h, t.content(n))
}

func (t *tree) hasDir(name string) bool {
	n := t.nodes[name]
	return name == "." || n != nil && n.header.Typeflag == tar.TypeDir
}

func (n *node) equal(o *node) bool {
	if o == nil || n.sum != o.sum || !slices.Equal(*n.group, *o.group) {
		return false
	}
	a, b := n.header, o.header
	return a.Typeflag == b.Typeflag && a.Linkname == b.Linkname && a.Mode == b.Mode &&
		a.Uid == b.Uid && a.Gid == b.Gid && a.ModTime.Equal(b.ModTime) &&
		a.Devmajor == b.Devmajor && a.Devminor == b.Devminor && maps.Equal(a.PAXRecords, b.PAXRecords)
}

// plainHeader keeps what a layer says about a file: no user names, no access
// times, and modification times in whole seconds, as image builders write them.
func plainHeader(h *tar.Header) tar.Header {
	kept := tar.Header{
		Typeflag: h.Typeflag, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid,
		ModTime: h.ModTime.Truncate(time.Second), Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, xattrRecord) {
			kept = withXattr(kept, strings.TrimPrefix(k, xattrRecord), v)
		}
	}
	return kept
}

// cleanName is the path without "./" and slashes around; "" for the root.
func cleanName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
