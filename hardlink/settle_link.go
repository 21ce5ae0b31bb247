package hardlink

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// linksPerHold bounds the links that are created within one call of Members.Hold.
const linksPerHold = 32

// link creates all links of the batch. Before, it writes the times of the directories
// concerned to disk; afterwards it restores them.
func (b *batch) link() error {
	if err := b.prepareLinks(); err != nil || len(b.links) == 0 {
		return err
	}
	dirs, err := openDirs(b.root, b.links)
	if err != nil {
		return err
	}
	defer dirs.close()
	if err := b.saveTimes(b.id, dirs); err != nil {
		return err
	}
	for left := b.links; len(left) > 0 && err == nil; {
		n := min(len(left), linksPerHold)
		err = b.opts.Members.Hold(func() error { return b.linkHeld(dirs, left[:n]) })
		left = left[n:]
	}
	// Links that were created before an error must be in the index, too.
	return errors.Join(err, b.indexLinks(), b.dropTimes(dirs))
}

// prepareLinks does the slow steps before Members.Hold for all links of the batch: it
// calls Members.Pair, and flushes the inode's bytes, which can have been written
// recently: filesystems order metadata, but not a file's bytes before it. It drops links
// to inodes that have no record any more: a member can be deleted at any time, and the
// record of an inode is deleted when none of its names is found.
func (b *batch) prepareLinks() error {
	remaining := b.links[:0]
	for i, p := range b.links {
		r := b.file(p.equal.st.Ino)
		if r == nil {
			p.close()
			continue
		}
		remaining = append(remaining, p)
		if err := b.prepareLink(p, r); err != nil {
			b.links = append(remaining, b.links[i+1:]...)
			return err
		}
	}
	b.links = remaining
	return nil
}

func (b *batch) prepareLink(p *pair, equal *record) error {
	if err := b.opts.Members.Pair(b.id, equal.members()); err != nil {
		return err
	}
	const whole = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return os.NewSyscallError("sync_file_range", unix.SyncFileRange(p.equal.fd(), 0, 0, whole))
}

// linkHeld creates links within Members.Hold, and restores the times of their directories
// before it returns.
func (b *batch) linkHeld(dirs openedDirs, links []*pair) (err error) {
	defer func() {
		for _, dir := range dirs {
			err = errors.Join(err, dir.restore())
		}
	}()
	for _, p := range links {
		if !b.opts.Members.Free(b.id) {
			return ErrInUse
		}
		ok, err := b.recheck(p)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := b.replace(p, dirs[filepath.Dir(p.name.at.path)]); err != nil {
			return err
		}
	}
	return nil
}

// recheck repeats, within Members.Hold, the checks that found the pair, and checks that
// no process has one of the files open for writing, which is possible if a client commits
// a snapshot while a process still writes to it.
func (b *batch) recheck(p *pair) (bool, error) {
	name, err := tree.Lstat(p.name.Name())
	if err != nil {
		return false, err
	}
	var equal unix.Stat_t
	if err := unix.Fstat(p.equal.fd(), &equal); err != nil {
		return false, &os.PathError{Op: "fstat", Path: p.equal.Name(), Err: err}
	}
	if name.Ino != p.name.st.Ino || name.Ctim != p.name.st.Ctim || equal.Ctim != p.equal.st.Ctim || equal.Nlink == 0 {
		return false, nil
	}
	r := b.file(p.equal.st.Ino)
	return r != nil && b.mayShare(p.equal, r, r) && p.name.noWriters() && p.equal.noWriters(), nil
}

// noWriters reports whether no process has f open for writing: the kernel grants a read
// lease only then (fcntl(2), F_SETLEASE). Without the permission for leases it is false.
func (f *file) noWriters() bool {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return false
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err == nil
}

// replace makes p.name a name of the inode of p.equal, which is open, by linkat(2) to a
// temporary name and rename(2): at any time the name refers to one of the two inodes.
func (b *batch) replace(p *pair, dir *openedDir) error {
	made := filepath.Join(b.scratch(), "link")
	if err := unix.Linkat(unix.AT_FDCWD, procPath(p.equal), unix.AT_FDCWD, made, unix.AT_SYMLINK_FOLLOW); err != nil {
		if errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) && p.equal.isGone() {
			return nil // the maximum of links (65,000 on ext4), immutable (chattr(1)), or just deleted
		}
		return &os.LinkError{Op: "link", Old: p.equal.Name(), New: made, Err: err}
	}
	dir.dirty = true
	if err := unix.Renameat(unix.AT_FDCWD, made, dir.fd, filepath.Base(p.name.at.path)); err != nil {
		return errors.Join(&os.LinkError{Op: "rename", Old: made, New: p.name.Name(), Err: err}, os.Remove(made))
	}
	p.linked = true
	b.reached.Linked.add(p.name.st.Size)
	return nil
}

// isGone reports whether f has no name any more.
func (f *file) isGone() bool {
	var st unix.Stat_t
	return unix.Fstat(f.fd(), &st) == nil && st.Nlink == 0
}

// indexLinks writes the links that were created to the index.
func (b *batch) indexLinks() error {
	for _, p := range b.links {
		if !p.linked {
			continue
		}
		if old := b.file(p.name.st.Ino); old != nil {
			if err := b.drop(p.name.st.Ino, old); err != nil {
				return err
			}
		}
		old := b.file(p.equal.st.Ino)
		if old == nil {
			continue // no record of the inode: its names are not all known
		}
		if err := unix.Fstat(p.equal.fd(), &p.equal.st); err != nil {
			return &os.PathError{Op: "fstat", Path: p.equal.Name(), Err: err}
		}
		r := old.with(p.name.at)
		r.changed = p.equal.changed()
		if err := b.put(p.equal.st.Ino, old, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) close() {
	for _, p := range b.links {
		p.close()
	}
}

// openedDirs are open directories of a member, by their path relative to its directory.
type openedDirs map[string]*openedDir

type openedDir struct {
	fd    int
	path  string
	st    unix.Stat_t
	dirty bool // its mtime is not that of st
}

// openDirs opens the parent directories of the files that links replace.
func openDirs(root string, links []*pair) (openedDirs, error) {
	dirs := openedDirs{}
	for _, p := range links {
		dir := filepath.Dir(p.name.at.path)
		if dirs[dir] != nil {
			continue
		}
		d := &openedDir{path: filepath.Join(root, dir)}
		var err error
		if d.fd, err = unix.Open(d.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			dirs.close()
			return nil, &os.PathError{Op: "open", Path: d.path, Err: err}
		}
		dirs[dir] = d
		if err := unix.Fstat(d.fd, &d.st); err != nil {
			dirs.close()
			return nil, &os.PathError{Op: "fstat", Path: d.path, Err: err}
		}
	}
	return dirs, nil
}

func (d openedDirs) close() {
	for _, dir := range d {
		_ = unix.Close(dir.fd) // open for reading
	}
}

// restore sets the mtime that the directory had when it was opened.
func (d *openedDir) restore() error {
	if !d.dirty {
		return nil
	}
	if err := setModified(d.fd, unix.TimespecToNsec(d.st.Mtim)); err != nil {
		return err
	}
	d.dirty = false
	return nil
}

func procPath(f *file) string { return "/proc/self/fd/" + strconv.Itoa(f.fd()) }
