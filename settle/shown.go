package settle

import (
	"context"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/hardlink"
)

// shown has the states of members (see the package comment).
type shown struct {
	mu struct {
		sync.Mutex
		dirs  map[uint64][]uint64  // by View: the members of which it shows the directories
		count map[uint64]int       // by member: the Views in dirs that show it; none is zero
		until map[uint64]time.Time // by member: the end of the last View that showed it
		// running has, by View in which programs may run, the snapshots of which it
		// shows inodes. linking has the members to whose files a copy adds names.
		//
		// INVARIANT: linking meets no entry of running, except of Views that began
		// after linking was set: their Prepare waits until linked is closed.
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

// end ends the View id. If remember is set it stores the time.
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

// of returns the number of Views that show the directory of a member, and the end of the
// last View that did, if it is stored.
func (s *shown) of(id uint64) (count int, ended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.count[id], s.mu.until[id]
}

// forget drops the stored ends of Views that are older than after.
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

// link makes members linking until done is called. If one of them is running it does
// nothing, and ok is false. The caller holds LockNames.
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

// wait waits while the View id runs programs and shows inodes of a member that is linking.
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
