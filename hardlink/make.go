package hardlink

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options say how a skeleton is made.
type Options struct {
	// UserXattr marks opaque directories by user.overlay.opaque, for
	// overlay mounts with the option userxattr, in place of
	// trusted.overlay.opaque.
	UserXattr bool
	// Unsynced: the bytes of copies need not be on disk when Make returns.
	Unsynced bool
	// Marks are the values of extended attributes that the root gets, by name:
	// the keys are those of MarkKey.
	Marks map[string]string
}

// Made is what a skeleton came to.
type Made struct {
	Links  int   // names that are hard links
	Copies int   // files that could not be linked
	Bytes  int64 // that were copied
}

// Prefix is what the name of a skeleton that is not whole begins with.
const Prefix = "new-"

// Make makes the skeleton root at path, which must not exist. It is made as
// Prefix and a random number beside path and then renamed, so what has the name
// path is whole, also if the process is killed; what was begun and not renamed
// is for the caller to delete at its next start. What is mirrored must not
// change meanwhile.
//
// Errors are of type *os.PathError, *os.LinkError or *os.SyscallError, and
// say in their path on which side it failed.
func Make(ctx context.Context, path string, root *Node, opts Options) (Made, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), Prefix)
	if err != nil {
		return Made{}, err
	}
	m := maker{ctx: ctx, opts: opts, others: make(chan struct{}, min(runtime.GOMAXPROCS(0), mostAtOnce)-1)}
	m.mu.copied = map[inode]string{}
	err = m.fill(dir, root)
	for name, value := range opts.Marks {
		err = errors.Join(err, m.setMark(dir, name, value))
	}
	if err == nil && m.bytes.Load() > 0 && !opts.Unsynced {
		// Links are metadata, which filesystems order in their journals.
		// Bytes of a new file they do not.
		err = syncAll(dir)
	}
	if err == nil {
		err = os.Rename(dir, path)
	}
	if err != nil {
		return Made{}, errors.Join(err, os.RemoveAll(dir))
	}
	return Made{int(m.links.Load()), int(m.copies.Load()), m.bytes.Load()}, nil
}

// syncAll writes the filesystem of dir to disk.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// inode is what names a file on this machine.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{st.Dev, st.Ino} }

// mostAtOnce bounds the directories that are filled at the same time: a link is
// work for the processor.
const mostAtOnce = 4

// maker makes one skeleton.
type maker struct {
	ctx    context.Context
	opts   Options
	others chan struct{} // has room for those that fill directories, but one
	// What was made: see Made.
	links, copies, bytes atomic.Int64

	mu struct {
		sync.Mutex
		// copied are the copies of files that have several names, by what
		// they are copies of. Each is whole.
		copied map[inode]string
	}
}

// fill makes the entries of n in dir, which is empty, and then gives dir its
// attributes.
func (m *maker) fill(dir string, n *Node) error {
	var group errgroup.Group
	var err error
	for _, name := range n.Dir.names() {
		if err = m.ctx.Err(); err != nil {
			break
		}
		path, entry := filepath.Join(dir, name), n.Dir.entries[name]
		if entry.Dir != nil && m.passOn(&group, path, entry) {
			continue
		}
		if err = m.place(path, entry); err != nil {
			break
		}
	}
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	if err := m.mark(dir, n.Dir); err != nil {
		return err
	}
	return dress(dir, n)
}

// passOn has a directory placed by somebody else, if there is one.
func (m *maker) passOn(group *errgroup.Group, path string, n *Node) bool {
	select {
	case m.others <- struct{}{}:
		group.Go(func() error {
			defer func() { <-m.others }()
			return m.place(path, n)
		})
		return true
	default:
		return false
	}
}

// dress gives dir the attributes of the directory n.
func dress(dir string, n *Node) error {
	if n.From == "" {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	for _, from := range append(slices.Clip(n.Under), n.From) {
		if from == "" {
			continue
		}
		st, err := lstat(from)
		if err != nil {
			return err
		}
		if err := mirrorAttributes(dir, from, st); err != nil {
			return err
		}
	}
	times := cmp.Or(n.Times, n.From)
	if times == "" {
		return nil
	}
	st, err := lstat(times)
	if err != nil {
		return err
	}
	return mirrorTimes(dir, st, n.Touched)
}

// mark writes what overlayfs reads at a directory. One with whiteouts gets the
// mark of a copied-up directory whose origin is not known: without it the kernel
// lists the whiteouts where nothing lies below the directory (Linux 6.18,
// fs/overlayfs/inode.c, ovl_get_inode: OVL_WHITEOUTS).
func (m *maker) mark(dir string, d *Dir) error {
	if d.Opaque {
		if err := m.setMark(dir, "opaque", "y"); err != nil {
			return err
		}
	}
	for _, n := range d.entries {
		if n.IsWhiteout() {
			return m.setMark(dir, "origin", "")
		}
	}
	return nil
}

func (m *maker) setMark(dir, name, value string) error {
	key := MarkKey(name, m.opts.UserXattr)
	if err := unix.Lsetxattr(dir, key, []byte(value), 0); err != nil {
		return &os.PathError{Op: "setxattr " + key, Path: dir, Err: err}
	}
	return nil
}

// MarkKey returns the extended attribute that a mark of overlayfs is: of user.*
// for mounts with the option userxattr.
func MarkKey(name string, userXattr bool) string {
	if userXattr {
		return userMarks + name
	}
	return trustedMarks + name
}

// What the names of overlayfs's marks begin with (Linux fs/overlayfs/overlayfs.h).
const (
	trustedMarks = "trusted.overlay."
	userMarks    = "user.overlay."
)

func (m *maker) place(path string, n *Node) error {
	switch {
	case n.Dir != nil:
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		return m.fill(path, n)
	case n.From == "":
		return mknod(path, unix.S_IFCHR, 0)
	}
	if n.Anew {
		return m.copy(path, n)
	}
	err := link(n.From, path)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) {
		return m.copy(path, n)
	}
	if err == nil {
		m.links.Add(1)
	}
	return err
}

func link(from, path string) error {
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, path, 0); err != nil {
		return &os.LinkError{Op: "link", Old: from, New: path, Err: err}
	}
	return nil
}

func lstat(path string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return &st, nil
}

func mknod(path string, mode uint32, device uint64) error {
	if err := unix.Mknod(path, mode, int(device)); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}
