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

	"github.com/ladle-dev/ladle/tree"
)

// Options say how a skeleton is made.
type Options struct {
	// UserXattr marks opaque directories by user.overlay.opaque, for
	// overlay mounts with the option userxattr, in place of
	// trusted.overlay.opaque.
	UserXattr bool
	// Unsynced: Make returns before the bytes of copies are on disk.
	Unsynced bool
	// Marks are further extended attributes of the root: MarkKey(name) is set to
	// the value.
	Marks map[string]string
}

// Made counts what Make created.
type Made struct {
	Links  int   // hard links
	Copies int   // files that were copied instead
	Bytes  int64 // in these copies
}

// Prefix begins the name of a skeleton that is being made, or was interrupted.
const Prefix = "new-"

// Make creates the skeleton of root at path, which must not exist. It creates a directory
// with Prefix and a random number as its name beside path, and renames it when it is
// complete; path is therefore complete even if the process is killed. The caller deletes
// directories with Prefix at its next start. The sources must not change during the call.
//
// Errors are of type *os.PathError, *os.LinkError or *os.SyscallError; their path says
// whether a source or the skeleton is concerned.
func Make(ctx context.Context, path string, root *Node, opts Options) (Made, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), Prefix)
	if err != nil {
		return Made{}, err
	}
	m := maker{ctx: ctx, opts: opts, workers: make(chan struct{}, min(runtime.GOMAXPROCS(0), maxWorkers)-1)}
	m.mu.copied = map[tree.FileID]string{}
	err = m.fill(dir, root)
	for name, value := range opts.Marks {
		err = errors.Join(err, m.setMark(dir, name, value))
	}
	if err == nil && m.bytes.Load() > 0 && !opts.Unsynced {
		// Links are metadata, which the filesystem's journal orders before the
		// rename. The bytes of a new file are not ordered.
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

// syncAll writes all dirty data of the filesystem of dir to disk (syncfs).
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// maxWorkers bounds the directories that are filled concurrently: creating links is bound
// by the CPU.
const maxWorkers = 4

// maker makes one skeleton.
type maker struct {
	ctx     context.Context
	opts    Options
	workers chan struct{} // semaphore of the goroutines beside the caller's
	// See Made.
	links, copies, bytes atomic.Int64

	mu struct {
		sync.Mutex
		// copied maps the inode of a source with several links to the path of
		// its copy, which is complete.
		copied map[tree.FileID]string
	}
}

// fill creates the entries of n in dir, which is empty, and then sets dir's attributes.
func (m *maker) fill(dir string, n *Node) error {
	var group errgroup.Group
	var err error
	for _, name := range n.Dir.names() {
		if err = m.ctx.Err(); err != nil {
			break
		}
		path, entry := filepath.Join(dir, name), n.Dir.entries[name]
		if entry.Dir != nil && m.fillConcurrently(&group, path, entry) {
			continue
		}
		if err = m.create(path, entry); err != nil {
			break
		}
	}
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	if err := m.mark(dir, n.Dir); err != nil {
		return err
	}
	return setAttributes(dir, n)
}

// fillConcurrently creates a directory in another goroutine. It returns false, and does
// nothing, if maxWorkers goroutines run.
func (m *maker) fillConcurrently(group *errgroup.Group, path string, n *Node) bool {
	select {
	case m.workers <- struct{}{}:
		group.Go(func() error {
			defer func() { <-m.workers }()
			return m.create(path, n)
		})
		return true
	default:
		return false
	}
}

// setAttributes sets the attributes of n on dir.
func setAttributes(dir string, n *Node) error {
	if n.From == "" {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	for _, from := range append(slices.Clip(n.Under), n.From) {
		if from == "" {
			continue
		}
		st, err := tree.Lstat(from)
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
	st, err := tree.Lstat(times)
	if err != nil {
		return err
	}
	return mirrorTimes(dir, st, n.Touched)
}

// mark sets the extended attributes of overlayfs on dir. A directory with whiteouts gets
// the one of a copied-up directory of unknown origin: without it the kernel lists the
// whiteouts if no lowerdir has the directory (Linux 6.18, fs/overlayfs/inode.c,
// ovl_get_inode: OVL_WHITEOUTS).
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

// MarkKey returns the name of the extended attribute for an overlayfs mark such as
// "opaque": in user.overlay. for mounts with the option userxattr, else in
// trusted.overlay.
func MarkKey(name string, userXattr bool) string {
	if userXattr {
		return userMarks + name
	}
	return trustedMarks + name
}

// Prefixes of the extended attributes of overlayfs (Linux fs/overlayfs/overlayfs.h).
const (
	trustedMarks = "trusted.overlay."
	userMarks    = "user.overlay."
)

func (m *maker) create(path string, n *Node) error {
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

func mknod(path string, mode uint32, device uint64) error {
	if err := unix.Mknod(path, mode, int(device)); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}
