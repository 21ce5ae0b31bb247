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

// savedTimes is the content of the file "times": the mtimes of directories with entries
// that are being replaced. The file exists until the directories have these times again.
type savedTimes struct {
	Member uint64      `json:"member"`
	Dirs   []savedTime `json:"dirs"`
}

type savedTime struct {
	Path     []byte `json:"path"`     // relative to the directory of the member; not always UTF-8
	Modified int64  `json:"modified"` // nanoseconds since 1970
}

// saveTimes writes the mtimes of dirs to the file "times".
func (p *Pool) saveTimes(member uint64, dirs openedDirs) error {
	n := savedTimes{Member: member}
	for path, d := range dirs {
		n.Dirs = append(n.Dirs, savedTime{[]byte(path), unix.TimespecToNsec(d.st.Mtim)})
	}
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return durable.Write(p.timesFile(), b)
}

// dropTimes removes the file "times" if all directories have their mtimes again.
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

// restoreTimes sets the mtimes that an interrupted process saved.
func (p *Pool) restoreTimes() error {
	b, err := os.ReadFile(p.timesFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var n savedTimes
	if err := json.Unmarshal(b, &n); err != nil {
		return err // the file was complete and on disk before it got its name
	}
	for _, d := range n.Dirs {
		if err := restoreTime(filepath.Join(p.opts.Members.Dir(n.Member), string(d.Path)), d.Modified); err != nil {
			return err
		}
	}
	return os.Remove(p.timesFile())
}

// restoreTime does nothing if the directory does not exist any more.
func restoreTime(path string, modified int64) error {
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

// setModified sets the mtime of an open directory, in nanoseconds since 1970.
func setModified(fd int, nsec int64) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(nsec)}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, ".", times, 0))
}
