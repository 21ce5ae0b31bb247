package index

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/stargz-snapshotter/estargz"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// extraction applies entries to a tree as Apply applies the headers of a tar
// to a directory; see the package's documentation for what differs.
type extraction struct {
	root     *tree.Inode
	contents contents
	memory   *budget
	last     struct { // where the last entry was put: mostly the next one's place, too
		path string
		dir  *tree.Inode
	}
}

func newExtraction(payloadSize int64, memory *budget) *extraction {
	x := &extraction{root: tree.NewDir(0o755), memory: memory, contents: contents{payload: payloadSize, memory: memory}}
	x.root.Dir.Implied = true // Apply leaves the root as it finds it
	x.last.dir = x.root
	return x
}

func (x *extraction) add(e *entry) error {
	if err := e.checkUTF8(); err != nil {
		return err
	}
	if e.Type == "chunk" {
		return x.contents.more(e)
	}
	if err := x.contents.finish(); err != nil {
		return err
	}
	if e.Type == "reg" {
		if err := x.contents.begin(e); err != nil {
			return err
		}
	}
	inode, err := x.enter(e)
	if inode != nil && e.Type == "reg" {
		x.contents.placed(inode)
	}
	return err
}

// enter puts an entry into the tree. It returns the inode that it made or gave another
// name, or nil if that is a directory that was there, a whiteout or nothing.
func (x *extraction) enter(e *entry) (*tree.Inode, error) {
	path, name, err := pathText(e.Name).split()
	if err != nil || name == "" {
		return nil, err
	}
	dir, err := x.directory(path)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, whiteoutPrefix) {
		return nil, x.whiteout(dir, name)
	}
	return x.place(dir, name, e)
}

// directory returns the directory path, which it makes if there is nothing.
func (x *extraction) directory(path string) (*tree.Inode, error) {
	if path == x.last.path {
		return x.last.dir, nil
	}
	dir := x.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" { // of the root
			break
		}
		child := dir.Dir.Lookup(name)
		if child == nil {
			if err := checkName(name); err != nil {
				return nil, err
			}
			child = newImplied(dir)
			if err := x.put(dir, name, child); err != nil {
				return nil, err
			}
		}
		if !child.IsDir() {
			return nil, fmt.Errorf("%q in the path is no directory", name)
		}
		dir = child
	}
	x.last.path, x.last.dir = path, dir
	return dir, nil
}

// put lets name in dir, which is part of a longer text, point to inode, if there
// is memory for it.
func (x *extraction) put(dir *tree.Inode, name string, inode *tree.Inode) error {
	if err := x.memory.spendEntry(dir.Dir, name, inode); err != nil {
		return err
	}
	dir.Dir.Add(strings.Clone(name), inode)
	return nil
}

// newImplied returns a directory such as Apply makes in parent for a path that
// goes through it. The file system gives it the group of a parent with the
// setgid bit (inode_init_owner in fs/inode.c).
func newImplied(parent *tree.Inode) *tree.Inode {
	dir := tree.NewDir(0o755)
	dir.Dir.Implied = true
	if parent.Mode&unix.S_ISGID != 0 {
		dir.GID = parent.GID
	}
	return dir
}

// Whiteouts in a tar: see the OCI image specification, layer.md.
const (
	whiteoutPrefix     = ".wh."
	whiteoutMetaPrefix = ".wh..wh." // of files that aufs kept for itself
	whiteoutOpaque     = ".wh..wh..opq"
)

func (x *extraction) whiteout(dir *tree.Inode, name string) error {
	if name == whiteoutOpaque {
		dir.Dir.Opaque = true
		return nil
	}
	if strings.HasPrefix(name, whiteoutMetaPrefix) {
		return nil
	}
	hidden := name[len(whiteoutPrefix):]
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("whiteout of no name")
	}
	if dir.Dir.Lookup(hidden) != nil {
		return nil
	}
	return x.put(dir, hidden, tree.NewWhiteout())
}

// place puts e at name in dir, in place of what is there: only a directory
// for a directory stays and gets the new attributes.
func (x *extraction) place(dir *tree.Inode, name string, e *entry) (*tree.Inode, error) {
	a, err := attributesOf(e)
	if err != nil {
		return nil, err
	}
	if err := x.memory.spend(xattrsCost(e.Xattrs)); err != nil {
		return nil, err
	}
	old := dir.Dir.Lookup(name)
	if e.Type == "dir" && old != nil && old.IsDir() {
		old.Dir.Implied = false
		a.setOn(old)
		return nil, nil
	}
	x.remove(dir, name)
	var inode *tree.Inode
	if e.Type == "hardlink" {
		inode, err = x.linked(e.LinkName)
	} else {
		inode, err = newInode(e)
	}
	if err != nil {
		return nil, err
	}
	a.setOn(inode)
	return inode, x.put(dir, name, inode)
}

// remove removes name from dir with all that is below, so that the link
// counts of what has other names stay right.
func (x *extraction) remove(dir *tree.Inode, name string) {
	old := dir.Dir.Lookup(name)
	if old == nil {
		return
	}
	if old.IsDir() {
		for _, e := range old.Dir.Entries() {
			x.remove(old, e.Name)
		}
		x.last.path, x.last.dir = "", x.root
	}
	dir.Dir.Remove(name)
}

// linked returns the inode for a new hard link to target, which must have been
// there before. Apply changes its owner even if that is the same: the kernel
// then drops its capabilities (chown_common in fs/open.c).
func (x *extraction) linked(target string) (*tree.Inode, error) {
	path, name, err := pathText(target).split()
	if err != nil {
		return nil, err
	}
	inode := x.root
	for part := range strings.SplitSeq(path+"/"+name, "/") {
		if part == "" {
			continue
		}
		if !inode.IsDir() {
			return nil, fmt.Errorf("hard link to %.300q: not there", target)
		}
		if inode = inode.Dir.Lookup(part); inode == nil {
			return nil, fmt.Errorf("hard link to %.300q: not there", target)
		}
	}
	if inode.IsDir() {
		return nil, fmt.Errorf("hard link to %.300q: a directory", target)
	}
	delete(inode.Xattrs, "security.capability")
	return inode, nil
}

// newInode returns an inode of the type of e without attributes.
func newInode(e *entry) (*tree.Inode, error) {
	switch e.Type {
	case "dir":
		return tree.NewDir(0), nil
	case "reg":
		return &tree.Inode{Mode: unix.S_IFREG, Size: e.Size}, nil
	case "symlink":
		if err := pathText(e.LinkName).check(); err != nil || e.LinkName == "" {
			return nil, fmt.Errorf("symbolic link to %.300q", e.LinkName)
		}
		return &tree.Inode{Mode: unix.S_IFLNK, Target: e.LinkName}, nil
	case "char", "block":
		return newDevice(e)
	case "fifo":
		return &tree.Inode{Mode: unix.S_IFIFO}, nil
	}
	return nil, fmt.Errorf("type %.300q", e.Type)
}

// newDevice returns the inode of a device file. Linux has 12 bits for the
// major and 20 for the minor number (MINORBITS in include/linux/kdev_t.h).
func newDevice(e *entry) (*tree.Inode, error) {
	if e.DevMajor < 0 || e.DevMajor >= 1<<12 || e.DevMinor < 0 || e.DevMinor >= 1<<20 {
		return nil, fmt.Errorf("device %d:%d", e.DevMajor, e.DevMinor)
	}
	mode := uint32(unix.S_IFCHR)
	if e.Type == "block" {
		mode = unix.S_IFBLK
	}
	return &tree.Inode{Mode: mode, Device: tree.Device{Major: uint32(e.DevMajor), Minor: uint32(e.DevMinor)}}, nil
}

// finish takes the landmarks out of the tree and lays out the data file.
func (x *extraction) finish() (*Index, error) {
	if err := x.contents.finish(); err != nil {
		return nil, err
	}
	index := &Index{Root: x.root}
	landmark := x.root.Dir.Lookup(estargz.PrefetchLandmark)
	if landmark != nil && x.root.Dir.Lookup(estargz.NoPrefetchLandmark) == nil {
		index.PrefetchSize = x.contents.blobOffset(landmark)
	}
	x.dropOwn()
	var err error
	index.Chunks, index.DataSize, err = x.contents.layOut()
	return index, err
}

// dropOwn takes out of the tree what is eStargz's own.
func (x *extraction) dropOwn() {
	for _, name := range []string{estargz.PrefetchLandmark, estargz.NoPrefetchLandmark, estargz.TOCTarName} {
		x.remove(x.root, name)
	}
}
