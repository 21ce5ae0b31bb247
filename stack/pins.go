package stack

import (
	"sync"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/store"
)

// Claims count the uses of layers. A layer with uses is not dropped from the store.
type Claims interface {
	Claim(layer store.ID)
	Unclaim(layer store.ID)
}

// Pins are what calls in progress read of snapshots, which may be removed meanwhile. A
// sweep does not delete what is pinned.
type Pins struct {
	claims Claims
	// reading is locked for reading by a call from before the transaction in which the
	// call finds snapshots until these are pinned.
	//
	// INVARIANT: if it can be locked for writing, the snapshots that calls have found
	// are pinned, and calls that begin later do not find a snapshot that was removed before.
	reading sync.RWMutex

	mu struct {
		sync.Mutex
		// snapshots are numbers of snapshots with a directory, or with inodes in one;
		// hardlink.Unknown: any snapshot. diffs are names of directories of clean
		// diffs. No count is zero.
		snapshots map[uint64]int
		diffs     map[string]int
	}
}

// NewPins returns Pins that claim the layers that are pinned.
func NewPins(claims Claims) *Pins {
	p := &Pins{claims: claims}
	p.mu.snapshots, p.mu.diffs = map[uint64]int{}, map[string]int{}
	return p
}

// Exclude waits until what calls have read is pinned, and makes further calls wait before
// they read, until done is called. Neither waits for longer than a transaction takes.
func (p *Pins) Exclude() (done func()) {
	p.reading.Lock()
	return p.reading.Unlock
}

// Has reports whether the snapshot id is pinned: its directory, or a directory with inodes
// of it.
func (p *Pins) Has(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.snapshots[id] > 0
}

// MayHave reports whether the snapshot id is pinned, or a directory with inodes of unknown
// snapshots.
func (p *Pins) MayHave(id uint64) bool { return p.Has(id) || p.Has(hardlink.Unknown) }

func (p *Pins) hasDiff(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.diffs[name] > 0
}

// pinned is what one call has pinned.
type pinned struct {
	snapshots []uint64
	diffs     []string
	layers    []store.ID
}

// add pins lowers for p. The snapshots of which directories of links have inodes are
// pinned, too: partners (package settle) are stored for as long as inodes are shared.
func (p *Pins) add(to *pinned, lowers []Lower) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range lowers {
		if l.Snapshot != 0 {
			p.addSnapshotLocked(to, l.Snapshot)
		}
		if l.Diff != "" {
			p.addDiffLocked(to, l.Diff)
		}
		for id := range l.Of {
			p.addSnapshotLocked(to, id)
		}
		for _, layer := range l.Tree.All() {
			to.layers = append(to.layers, layer)
			p.claims.Claim(layer)
		}
	}
}

// addDiffs pins directories of clean diffs for p, which need not exist.
func (p *Pins) addDiffs(to *pinned, names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		p.addDiffLocked(to, name)
	}
}

func (p *Pins) addSnapshotLocked(to *pinned, id uint64) {
	to.snapshots = append(to.snapshots, id)
	p.mu.snapshots[id]++
}

func (p *Pins) addDiffLocked(to *pinned, name string) {
	to.diffs = append(to.diffs, name)
	p.mu.diffs[name]++
}

// remove unpins all that a call has pinned.
func (p *Pins) remove(from *pinned) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range from.snapshots {
		discount(p.mu.snapshots, id)
	}
	for _, name := range from.diffs {
		discount(p.mu.diffs, name)
	}
	for _, layer := range from.layers {
		p.claims.Unclaim(layer)
	}
	*from = pinned{}
}

func discount[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
