package snapshot

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/hardlink"
)

// settlers are the members of the endpoint's pool (package hardlink): the upper
// directories of local committed snapshots. A member is free if no active
// snapshot or view shows it, and none did a moment ago: clients unmount lazily.
//
// Two members are apart if no chain or merge has both. A chain does not change.
// Whoever plans a merge pins its snapshots, calls settlers.barrier, and then
// asks for the partners of each (partners.go); a pinned member is not free.
type settlers struct {
	s        *Snapshotter
	partners partners
	changed  chan struct{} // has room for one; somebody may be free now
	started  time.Time
	merges   atomic.Uint64 // that were made
	// look finds out who is shown together, and seen is what it found. Only
	// the worker has them.
	look   func() (map[uint64][]uint64, error)
	seen   census
	yields bool // it has the lowest priority

	// makes is held for reading while a snapshot is made, and for writing
	// while files are replaced.
	makes sync.RWMutex
	shown shown
}

var _ hardlink.Members = (*settlers)(nil)

// shown is which directories active snapshots and views show, the upper
// directories of the former included.
type shown struct {
	mu struct {
		sync.Mutex
		by    map[string][]string  // numbers, by the number of who shows them
		count map[string]int       // none is zero
		until map[string]time.Time // when one ended that showed it
		// written is what those of by show that are written to: something
		// may run there. It is not taken, or they wait for link to be
		// closed, which is when nothing is taken any more (running.go).
		written map[string]sources
		taken   sources
		link    chan struct{}
	}
}

// restore finds out what is shown when a process starts.
func (m *settlers) restore(ctx context.Context, s *Snapshotter, dir string) error {
	m.s, m.changed, m.started = s, make(chan struct{}, 1), time.Now()
	m.shown.mu.by, m.shown.mu.count, m.shown.mu.until = map[string][]string{}, map[string]int{}, map[string]time.Time{}
	m.shown.mu.written = map[string]sources{}
	err := m.partners.open(dir, func() ([]uint64, error) {
		log.G(ctx).Warn("which snapshots share inodes cannot be read: all there are count as sharing some")
		return s.current(ctx)
	})
	if err != nil {
		return err
	}
	infos, err := s.list(ctx)
	if err != nil {
		return err
	}
	return s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		for _, info := range infos {
			if info.Kind == snapshots.KindCommitted {
				continue
			}
			u, err := readUsable(ctx, info.Name)
			if err != nil {
				return err
			}
			if err := m.remember(u, info); err != nil {
				return err
			}
			m.begin(u)
		}
		return nil
	})
}

// remember keeps whose inodes a copy has, in case that an earlier process was
// interrupted before it did.
func (m *settlers) remember(u usable, info snapshots.Info) error {
	from, alone, err := copiedFrom(info)
	if err != nil || len(from) == 0 {
		return err
	}
	id, err := strconv.ParseUint(u.id, 10, 64)
	if err != nil {
		return err
	}
	return m.partners.copied(id, from, alone)
}

// making is called before a snapshot is made, and made after that, also if
// there is none.
func (m *settlers) making() { m.makes.RLock() }

func (m *settlers) made(u usable, err error) {
	defer m.makes.RUnlock()
	if err != nil {
		return
	}
	m.begin(u)
	if u.stack != nil {
		m.merges.Add(1)
	}
}

// barrier returns when nothing is being replaced that was free before.
func (m *settlers) barrier() {
	m.makes.RLock()
	defer m.makes.RUnlock()
}

// begin notes what u shows until ended is called with its number.
func (m *settlers) begin(u usable) {
	ids := append(idsIn(u.lowers()), u.id)
	m.shown.mu.Lock()
	defer m.shown.mu.Unlock()
	m.shown.mu.by[u.id] = ids
	if u.kind == snapshots.KindActive && !u.copied {
		m.shown.mu.written[u.id] = membersOf(u.lowers())
	}
	for _, id := range ids {
		m.shown.mu.count[id]++
	}
}

// ended is called when the snapshot id was committed or removed.
func (m *settlers) ended(id string) {
	m.shown.mu.Lock()
	for _, member := range m.shown.mu.by[id] {
		discount(m.shown.mu.count, member)
		if m.s.opts.Settle { // else it is not asked for, nor forgotten
			m.shown.mu.until[member] = time.Now()
		}
	}
	delete(m.shown.mu.by, id)
	delete(m.shown.mu.written, id)
	m.shown.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default: // it is known
	}
}

// idsIn returns the numbers of the snapshots whose upper directories lowers
// show.
func idsIn(lowers []lower) (ids []string) {
	for _, l := range lowers {
		if l.id != "" && l.part == "" {
			ids = append(ids, l.id)
		}
	}
	return ids
}

// isShown reports whether something shows the member now.
func (m *settlers) isShown(id uint64) bool {
	m.shown.mu.Lock()
	defer m.shown.mu.Unlock()
	return m.shown.mu.count[itoa(id)] > 0
}

// Dir implements hardlink.Members.
func (m *settlers) Dir(id uint64) string { return m.s.upper(itoa(id)) }

// Free implements hardlink.Members.
func (m *settlers) Free(id uint64) bool {
	if m.s.pins.hasID(itoa(id)) {
		return false
	}
	m.shown.mu.Lock()
	defer m.shown.mu.Unlock()
	ended := m.shown.mu.until[itoa(id)]
	if ended.IsZero() {
		ended = m.started
	}
	return m.shown.mu.count[itoa(id)] == 0 && time.Since(ended) >= m.s.opts.SettleAfter
}

// Hold implements hardlink.Members.
func (m *settlers) Hold(do func() error) error {
	return m.hurry(func() error {
		m.stopMaking()
		defer m.makes.Unlock()
		return do()
	})
}

// stopMaking locks makes. Which members are shown together is found out before calls
// have to wait, unless merges are made faster than that.
func (m *settlers) stopMaking() {
	for range 3 {
		_ = m.lookAgain() // Apart does again what failed
		m.makes.Lock()
		if m.seen.merges == m.merges.Load()+1 {
			return
		}
		m.makes.Unlock()
	}
	m.makes.Lock()
}

// hurry runs do, for which others may wait, not at the lowest priority.
func (m *settlers) hurry(do func() error) error {
	// Where it may not be raised again (user namespaces) it stays the lowest.
	if m.yields && setPriority(ordinary) == nil {
		defer func() { _ = setPriority(lowest) }() // it was possible before
	}
	return do()
}

// Pair implements hardlink.Members.
func (m *settlers) Pair(a uint64, others []uint64) error { return m.partners.settled(a, others) }

// Apart implements hardlink.Members. It is called by the worker alone.
func (m *settlers) Apart(a, b uint64) bool {
	return m.lookAgain() == nil && a != b && m.seen.areApart(a, b)
}

// lookAgain finds out which members are shown together, if merges were made since it
// did last.
func (m *settlers) lookAgain() error {
	now := m.merges.Load() + 1
	if m.seen.merges == now {
		return nil
	}
	together, err := m.look()
	if err == nil {
		m.seen = census{merges: now, together: together}
	}
	return err
}

// keep forgets what is only of snapshots that are gone. all are those there were a
// moment ago.
func (m *settlers) keep(ctx context.Context, all sources) error {
	m.seen = census{} // there may be new snapshots in it
	m.shown.mu.Lock()
	for id, ended := range m.shown.mu.until {
		if time.Since(ended) > m.s.opts.SettleAfter && time.Since(m.started) > m.s.opts.SettleAfter {
			delete(m.shown.mu.until, id)
		}
	}
	m.shown.mu.Unlock()
	isThere := func(id uint64) bool { return all[id] || !all.known() }
	gone := m.partners.gone(isThere)
	if len(gone) == 0 {
		return nil
	}
	// They must not be back without their partners after a reset of the machine.
	if err := m.hurry(func() error { return m.s.meta.Sync(ctx) }); err != nil {
		return err
	}
	// A call may have begun, before they were gone, to make what has their files:
	// it has pinned them until what it made is listed.
	return m.hurry(func() (err error) {
		m.makes.Lock()
		defer m.makes.Unlock()
		if _, all, err = m.s.committed(ctx); err != nil {
			return err
		}
		maps.DeleteFunc(gone, func(id uint64, _ bool) bool { return isThere(id) || m.s.pins.mayHave(id) })
		return m.partners.forget(gone)
	})
}
