package differ

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// editor makes random changes below a directory. Errors of the kernel are ignored: some of
// the changes cannot be made.
type editor struct {
	*rand.Rand
	root string
}

// write writes a regular file. Pipes would wait for a reader, and devices are those of the
// machine.
func write(path string, p []byte, perm fs.FileMode) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return
	}
	_ = os.WriteFile(path, p, perm)
}

// edit makes one change.
func (e editor) edit() {
	path := e.any()
	info, err := os.Lstat(path)
	if err != nil {
		return
	}
	changes := []func(string, fs.FileInfo){
		e.create, e.create, e.makeDir, e.special, e.rewrite, e.appendTo, e.chmodTwice, e.chmod, e.chown,
		e.touch, e.touchAgain, e.remove, e.remove, e.rename, e.renameOver, e.replace, e.link, e.link, e.xattr, e.renew,
	}
	changes[e.IntN(len(changes))](path, info)
}

// any returns a path below the root, or the root itself.
func (e editor) any() string {
	var all []string
	_ = filepath.WalkDir(e.root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			all = append(all, path)
		}
		return nil
	})
	return all[e.IntN(len(all))]
}

// beside returns a name in path, or in its directory.
func (e editor) beside(path string, info fs.FileInfo) string {
	if !info.IsDir() {
		path = filepath.Dir(path)
	}
	names := []string{"a", "b", "c", "d", "new", ".wh.x", "\xff\x01", "a-", "a!"}
	return filepath.Join(path, names[e.IntN(len(names))])
}

// someTime is before 1970 or after, often in whole seconds.
func (e editor) someTime() time.Time {
	nsec := int64(0)
	if e.IntN(2) == 0 {
		nsec = e.Int64N(1e9)
	}
	return time.Unix(-1<<30+e.Int64N(1<<32), nsec)
}

func setTime(path string, at time.Time) {
	ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
}

func (e editor) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(e.Uint32())
	}
	return p
}

func (e editor) create(path string, info fs.FileInfo) {
	path = e.beside(path, info)
	write(path, e.bytes(e.IntN(9000)), 0o644)
	setTime(path, e.someTime())
}

func (e editor) makeDir(path string, info fs.FileInfo) {
	path = e.beside(path, info)
	_ = os.Mkdir(path, os.FileMode(e.IntN(0o1000)))
	if e.IntN(2) == 0 {
		write(filepath.Join(path, "in"), e.bytes(10), 0o600)
	}
}

func (e editor) special(path string, info fs.FileInfo) {
	path = e.beside(path, info)
	switch e.IntN(5) {
	case 0:
		_ = os.Symlink(fmt.Sprint("target", e.IntN(100)), path)
		_ = os.Lchown(path, e.IntN(2000), 7)
	case 1:
		_ = unix.Mkfifo(path, 0o600)
	case 2:
		_ = unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	case 3:
		_ = unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(7, 200)))
	case 4:
		if l, err := net.Listen("unix", path); err == nil {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			_ = l.Close()
		}
	}
	if e.IntN(2) == 0 {
		setTime(path, e.someTime())
	}
}

// rewrite changes the content of a file, and neither its size nor its time.
func (e editor) rewrite(path string, info fs.FileInfo) {
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	_, _ = f.WriteAt(e.bytes(1), e.Int64N(info.Size()))
	_ = f.Close()
	setTime(path, info.ModTime())
}

func (e editor) appendTo(path string, info fs.FileInfo) {
	if !info.Mode().IsRegular() {
		return
	}
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = f.Write(e.bytes(e.IntN(100)))
		_ = f.Close()
	}
}

// chmodTwice copies a file up that remains as it was.
func (e editor) chmodTwice(path string, info fs.FileInfo) {
	if info.Mode()&fs.ModeSymlink == 0 {
		mode := info.Sys().(*syscall.Stat_t).Mode & 0o7777
		_ = unix.Chmod(path, mode^0o100)
		_ = unix.Chmod(path, mode)
	}
}

func (e editor) chmod(path string, info fs.FileInfo) {
	if info.Mode()&fs.ModeSymlink == 0 {
		_ = unix.Chmod(path, e.Uint32N(0o10000))
	}
}

func (e editor) chown(path string, _ fs.FileInfo) { _ = os.Lchown(path, e.IntN(70000), e.IntN(70000)) }

func (e editor) touch(path string, _ fs.FileInfo) { setTime(path, e.someTime()) }

func (e editor) touchAgain(path string, info fs.FileInfo) { setTime(path, info.ModTime()) }

func (e editor) remove(path string, _ fs.FileInfo) {
	if path != e.root {
		_ = os.RemoveAll(path)
	}
}

func (e editor) rename(path string, _ fs.FileInfo) {
	other := e.any()
	if info, err := os.Lstat(other); err == nil && path != e.root {
		_ = os.Rename(path, e.beside(other, info))
	}
}

// renameOver puts a file or directory in the place of another one.
func (e editor) renameOver(path string, _ fs.FileInfo) {
	if other := e.any(); path != e.root && other != e.root && !strings.HasPrefix(path, other+"/") && path != other {
		_ = os.RemoveAll(other)
		_ = os.Rename(path, other)
	}
}

// replace puts a directory in the place of a file, or a file in that of a directory.
func (e editor) replace(path string, info fs.FileInfo) {
	if path == e.root {
		return
	}
	_ = os.RemoveAll(path)
	if info.IsDir() {
		write(path, e.bytes(20), 0o644)
		return
	}
	_ = os.Mkdir(path, 0o755)
	write(filepath.Join(path, "in"), e.bytes(20), 0o644)
}

// renew puts a new directory in the place of one, with some of its names.
func (e editor) renew(path string, info fs.FileInfo) {
	if !info.IsDir() || path == e.root {
		return
	}
	entries, _ := os.ReadDir(path)
	_ = os.RemoveAll(path)
	_ = os.Mkdir(path, info.Mode().Perm())
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		switch e.IntN(3) {
		case 0:
			write(name, e.bytes(e.IntN(20)), 0o644)
		case 1:
			_ = os.Mkdir(name, 0o755)
		}
	}
}

func (e editor) link(path string, _ fs.FileInfo) {
	other := e.any()
	if info, err := os.Lstat(other); err == nil {
		_ = os.Link(path, e.beside(other, info))
	}
}

func (e editor) xattr(path string, info fs.FileInfo) {
	if info.Mode().IsRegular() && e.IntN(2) == 0 {
		// vfs_cap_data of linux/capability.h, revision 2.
		value := binary.LittleEndian.AppendUint32(nil, 0x02000001)
		value = binary.LittleEndian.AppendUint32(value, e.Uint32())
		_ = unix.Lsetxattr(path, "security.capability", append(value, make([]byte, 12)...), 0)
		return
	}
	_ = unix.Lsetxattr(path, "user.text", e.bytes(10), 0)
	_ = unix.Lsetxattr(path, "trusted.text", e.bytes(10), 0)
}
