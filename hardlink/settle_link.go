package hardlink

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// heldLinks bounds how many links are made while no view can come to be.
const heldLinks = 32

// link makes all links of the batch, directory by directory. The times of the
// directories are noted on disk before and restored afterwards.
func (b *batch) link() error {
	if err := b.ready(); err != nil || len(b.links) == 0 {
		return err
	}
	dirs, err := openDirs(b.root, b.links)
	if err != nil {
		return err
	}
	defer dirs.close()
	if err := b.noteTimes(b.id, dirs); err != nil {
		return err
	}
	for left := b.links; len(left) > 0 && err == nil; {
		n := min(len(left), heldLinks)
		err = b.opts.Members.Hold(func() error { return b.linkHeld(dirs, left[:n]) })
		left = left[n:]
	}
	// Also after an error: what was linked is to be known as that.
	return errors.Join(err, b.indexLinks(), b.dropTimes(dirs))
}

// ready does for all links of the batch what takes time: Members is told which
// members come to share an inode, and the bytes of the inode, which may have been
// written a moment ago, go to disk. Filesystems order what they write about names,
// but not the bytes of files before it. Links to inodes that have no record any
// more are dropped: a member can be deleted at any time, and the record of an
// inode goes when none of its names is found.
func (b *batch) ready() error {
	kept := b.links[:0]
	for i, p := range b.links {
		r := b.file(p.equal.st.Ino)
		if r == nil {
			p.close()
			continue
		}
		kept = append(kept, p)
		if err := b.readyLink(p, r); err != nil {
			b.links = append(kept, b.links[i+1:]...)
			return err
		}
	}
	b.links = kept
	return nil
}

func (b *batch) readyLink(p *pair, equal *record) error {
	if err := b.opts.Members.Pair(b.id, equal.members()); err != nil {
		return err
	}
	const whole = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return os.NewSyscallError("sync_file_range", unix.SyncFileRange(p.equal.fd(), 0, 0, whole))
}

// linkHeld makes links while no view can come to be, and restores the times of
// their directories before one can.
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
		ok, err := b.stillMay(p)
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

// stillMay asks again what was found out before nobody could interfere, and
// whether somebody has one of the files open for writing, as may be if a client
// committed a snapshot that it still writes to.
func (b *batch) stillMay(p *pair) (bool, error) {
	var name, equal unix.Stat_t
	if err := unix.Lstat(p.name.Name(), &name); err != nil {
		return false, &os.PathError{Op: "lstat", Path: p.name.Name(), Err: err}
	}
	if err := unix.Fstat(p.equal.fd(), &equal); err != nil {
		return false, &os.PathError{Op: "fstat", Path: p.equal.Name(), Err: err}
	}
	if name.Ino != p.name.st.Ino || name.Ctim != p.name.st.Ctim || equal.Ctim != p.equal.st.Ctim || equal.Nlink == 0 {
		return false, nil
	}
	r := b.file(p.equal.st.Ino)
	return r != nil && b.mayShare(p.equal, r, r) && p.name.quiet() && p.equal.quiet(), nil
}

// quiet reports whether nobody has f open for writing: then, and only then, the
// kernel grants a read lease (fcntl(2), F_SETLEASE). Who may have none is told
// that somebody has.
func (f *file) quiet() bool {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return false
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err == nil
}

// replace makes p.name a name of the inode p.equal, that which was read. It is
// done by rename(2), so that there is one or the other at any time.
func (b *batch) replace(p *pair, dir *openedDir) error {
	made := filepath.Join(b.scratch(), "link")
	if err := unix.Linkat(unix.AT_FDCWD, procPath(p.equal), unix.AT_FDCWD, made, unix.AT_SYMLINK_FOLLOW); err != nil {
		if errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) && p.equal.isGone() {
			return nil // it has 65,000 links (ext4), is immutable (chattr(1)), or was deleted a moment ago
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

// indexLinks tells the index of the links that were made.
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
			continue // an inode that the index does not know is left alone
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

// openedDirs are directories of a member, by path below it.
type openedDirs map[string]*openedDir

type openedDir struct {
	fd    int
	path  string
	st    unix.Stat_t
	dirty bool // its time of modification is not st's
}

// openDirs opens the directories of the names of links.
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
		_ = unix.Close(dir.fd) // it was only read
	}
}

// restore gives a directory the time of modification that it had.
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
