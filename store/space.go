package store

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Space is what the filesystem of a store has, in bytes.
type Space struct {
	Free    int64 // what others than root may still take (statfs(2), f_bavail)
	Reserve int64 // what is to stay free of that: see Options.Reserve
}

// Space returns what the filesystem has now.
func (s *Store) Space() (Space, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err != nil {
		return Space{}, fmt.Errorf("store: %w", &os.PathError{Op: "statfs", Path: s.root, Err: err})
	}
	space := Space{Free: int64(fs.Bavail) * fs.Bsize}
	if s.low.reserve != nil {
		space.Reserve = s.low.reserve(int64(fs.Blocks) * fs.Bsize)
	}
	return space, nil
}

// spaceAge is how old the answer of IsLow may be. On a fast link some megabytes can
// come in that time.
const spaceAge = 10 * time.Millisecond

// low is whether less is free than is to stay free.
type low struct {
	reserve func(size int64) int64 // Options.Reserve
	sync.Mutex
	is    bool
	asked time.Time
}

// IsLow reports whether less than the reserve is free. Background fetches and prefetches
// store nothing then. It returns false again when an eighth more than the reserve is free.
func (s *Store) IsLow() bool {
	s.low.Lock()
	defer s.low.Unlock()
	if time.Since(s.low.asked) < spaceAge {
		return s.low.is
	}
	s.low.asked = time.Now()
	space, err := s.Space()
	if err != nil {
		return s.low.is // who writes is told what is wrong
	}
	wanted := space.Reserve
	if s.low.is {
		wanted += space.Reserve / 8
	}
	s.low.is = space.Free < wanted
	return s.low.is
}
