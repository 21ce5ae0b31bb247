package hardlink

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
)

// noted are the times of directories whose entries are being replaced, in a
// file that lasts until they have these times again.
type noted struct {
	Member uint64      `json:"member"`
	Dirs   []notedTime `json:"dirs"`
}

type notedTime struct {
	Path     []byte `json:"path"`     // below the directory of the member; not always UTF-8
	Modified int64  `json:"modified"` // nanoseconds since 1970
}

// noteTimes writes the times of dirs to disk.
func (p *Pool) noteTimes(member uint64, dirs openedDirs) error {
	n := noted{Member: member}
	for path, d := range dirs {
		n.Dirs = append(n.Dirs, notedTime{[]byte(path), unix.TimespecToNsec(d.st.Mtim)})
	}
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return durable.Write(p.timesFile(), b)
}

// dropTimes removes the note if all directories have their times again.
func (p *Pool) dropTimes(dirs openedDirs) error {
	for _, d := range dirs {
		if d.dirty {
			return nil
		}
		if err := unix.Fsync(d.fd); err != nil {
			return &os.PathError{Op: "fsync", Path: d.path, Err: err}
		}
	}
	return os.Remove(p.timesFile())
}

// mend gives directories the times that an interrupted process has noted.
func (p *Pool) mend() error {
	b, err := os.ReadFile(p.timesFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var n noted
	if err := json.Unmarshal(b, &n); err != nil {
		return err // it was renamed when it was whole and on disk
	}
	for _, d := range n.Dirs {
		if err := mendDir(filepath.Join(p.opts.Members.Dir(n.Member), string(d.Path)), d.Modified); err != nil {
			return err
		}
	}
	return os.Remove(p.timesFile())
}

// mendDir does nothing if the directory was removed meanwhile.
func mendDir(path string, modified int64) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if err := setModified(fd, modified); err != nil {
		return err
	}
	return os.NewSyscallError("fsync", unix.Fsync(fd))
}

// setModified sets the time of modification of an open directory, in
// nanoseconds since 1970.
func setModified(fd int, nsec int64) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(nsec)}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, ".", times, 0))
}
