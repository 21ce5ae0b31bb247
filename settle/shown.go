package settle

import (
	"context"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/hardlink"
)

// shown is which states members have (see the package comment).
type shown struct {
	mu struct {
		sync.Mutex
		dirs  map[uint64][]uint64  // by View: the members of which it shows the directories
		count map[uint64]int       // by member: the Views in dirs that show it; none is zero
		until map[uint64]time.Time // by member: when a View ended that showed it
		// running is, by View in which programs may run, what it shows inodes of, and
		// linking is of which members a copy adds names to files.
		//
		// INVARIANT: linking meets no entry of running but those of Views that were
		// begun since: these wait until linked is closed.
		running map[uint64]hardlink.Sources
		linking hardlink.Sources
		linked  chan struct{} // closed when linking becomes empty
	}
}

func (s *shown) init() {
	s.mu.dirs, s.mu.count, s.mu.until = map[uint64][]uint64{}, map[uint64]int{}, map[uint64]time.Time{}
	s.mu.running = map[uint64]hardlink.Sources{}
}

func (s *shown) begin(v View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.dirs[v.ID] = v.Dirs
	if v.Runs {
		s.mu.running[v.ID] = v.Sources
	}
	for _, id := range v.Dirs {
		s.mu.count[id]++
	}
}

// end ends the View id, and if remember is set it stores when that was.
func (s *shown) end(id uint64, remember bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, member := range s.mu.dirs[id] {
		if s.mu.count[member]--; s.mu.count[member] == 0 {
			delete(s.mu.count, member)
		}
		if remember {
			s.mu.until[member] = time.Now()
		}
	}
	delete(s.mu.dirs, id)
	delete(s.mu.running, id)
}

// of returns how many Views show the directory of a member, and when the last one ended
// that did; zero: it is not remembered.
func (s *shown) of(id uint64) (count int, ended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.count[id], s.mu.until[id]
}

// forget drops the times of Views that ended longer ago than after.
func (s *shown) forget(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, ended := range s.mu.until {
		if time.Since(ended) > after {
			delete(s.mu.until, id)
		}
	}
}

// runs reports whether programs may run in a View that shows inodes of one of members.
func (s *shown) runs(members hardlink.Sources) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runsLocked(members)
}

func (s *shown) runsLocked(members hardlink.Sources) bool {
	for _, shows := range s.mu.running {
		if shows.Meets(members) {
			return true
		}
	}
	return false
}

// link makes members linking until done is called, or reports false if one is running.
// The caller has locked names.
func (s *shown) link(members hardlink.Sources) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runsLocked(members) {
		return nil, false
	}
	s.mu.linking, s.mu.linked = members, make(chan struct{})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.linking = nil
		close(s.mu.linked)
	}, true
}

// wait returns nil when the View id shows no inode of a member that is linking, or runs
// no programs.
func (s *shown) wait(ctx context.Context, id uint64) error {
	for {
		s.mu.Lock()
		wait, linked := s.mu.running[id].Meets(s.mu.linking), s.mu.linked
		s.mu.Unlock()
		if !wait {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-linked:
		}
	}
}
