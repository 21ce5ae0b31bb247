package servicetest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// store keeps descriptors.
type store struct {
	max int
	mu  struct {
		sync.Mutex
		kept []*os.File // Name is FDNAME
	}
}

// receive does what a notification says about the store, and closes the
// descriptors that it does not keep.
func (s *store) receive(state []string, fds []int) {
	name := "stored"
	for _, line := range state {
		if n, ok := strings.CutPrefix(line, "FDNAME="); ok {
			name = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(state, "FDSTOREREMOVE=1") {
		s.removeLocked(func(f *os.File) bool { return f.Name() == name })
	}
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), name)
		if slices.Contains(state, "FDSTORE=1") && len(s.mu.kept) < s.max {
			s.mu.kept = append(s.mu.kept, f)
		} else {
			f.Close()
		}
	}
}

// removeLocked closes what is out.
func (s *store) removeLocked(out func(*os.File) bool) {
	s.mu.kept = slices.DeleteFunc(s.mu.kept, func(f *os.File) bool {
		if !out(f) {
			return false
		}
		f.Close()
		return true
	})
}

// Pass returns copies of the descriptors that are kept, as the next process gets
// them: the Name of each is its FDNAME. Of what has hung up it lets go, as systemd does
// at once. The caller closes them, also if there is an error.
func (s *Service) Pass() ([]*os.File, error) { return s.store.pass() }

func (s *store) pass() (files []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(broken)
	for _, f := range s.mu.kept {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return files, fmt.Errorf("servicetest: %w", err)
		}
		files = append(files, os.NewFile(uintptr(fd), f.Name()))
	}
	return files, nil
}

func broken(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
}

// Stored returns the names of the descriptors that are kept.
func (s *Service) Stored() (names []string) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, f := range s.store.mu.kept {
		names = append(names, f.Name())
	}
	return names
}

// Drop closes all descriptors that are kept, as systemd does when it stops the
// service or gives it up.
func (s *Service) Drop() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.removeLocked(func(*os.File) bool { return true })
}
