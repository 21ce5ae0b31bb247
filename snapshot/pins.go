package snapshot

import (
	"sync"

	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// pins keep what calls in progress read, whatever is removed meanwhile: a
// sweep leaves it alone. To pin something, and then to see in a transaction
// that a snapshot still has it, is to have it until it is unpinned.
type pins struct {
	mu struct {
		sync.Mutex
		// ids are of snapshots with a directory, diffs are names of clean
		// diffs. No count is zero.
		ids   map[number]int
		diffs map[string]int
	}
}

// pinned is what one call has pinned.
type pinned struct {
	pins   *pins
	claims *Claims
	ids    []number
	diffs  []string
	layers []store.ID
}

func (p *pinned) add(lowers []stack.Lower) {
	p.pins.mu.Lock()
	defer p.pins.mu.Unlock()
	for _, l := range lowers {
		if id := number(l.Snapshot); id != 0 {
			p.ids = append(p.ids, id)
			p.pins.mu.ids[id]++
		}
		if l.Diff != "" {
			p.addDiffLocked(l.Diff)
		}
		for id := range l.Of { // they stay partners of others
			p.ids = append(p.ids, number(id))
			p.pins.mu.ids[number(id)]++
		}
		for _, layer := range l.Tree.All() {
			p.layers = append(p.layers, layer)
			p.claims.add(layer)
		}
	}
}

func (p *pinned) addDiff(name string) {
	p.pins.mu.Lock()
	defer p.pins.mu.Unlock()
	p.addDiffLocked(name)
}

func (p *pinned) addDiffLocked(name string) {
	p.diffs = append(p.diffs, name)
	p.pins.mu.diffs[name]++
}

func (p *pinned) release() {
	p.pins.mu.Lock()
	defer p.pins.mu.Unlock()
	for _, id := range p.ids {
		discount(p.pins.mu.ids, id)
	}
	for _, name := range p.diffs {
		discount(p.pins.mu.diffs, name)
	}
	for _, layer := range p.layers {
		p.claims.drop(layer)
	}
	p.ids, p.diffs, p.layers = nil, nil, nil
}

func (p *pins) hasID(id number) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.ids[id] > 0
}

// mayHave reports whether a call in progress has pinned a directory that has inodes of the
// snapshot id, or may have.
func (p *pins) mayHave(id number) bool { return p.hasID(id) || p.hasID(anySnapshot) }

func (p *pins) hasDiff(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.diffs[name] > 0
}
