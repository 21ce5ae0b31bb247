package fs

import (
	"maps"
	"slices"

	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/store"
)

// enter returns the tree of spec, and counts the caller as its user until leave.
func (f *FileSystem) enter(spec store.Spec) (*mounted, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.enterLocked(spec)
}

// enterToWarm is enter for a goroutine that Close waits for until it calls
// f.warming.Done. Close waits after setClosed, so that no goroutine is added later.
func (f *FileSystem) enterToWarm(spec store.Spec) (*mounted, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.enterLocked(spec)
	if err == nil {
		f.warming.Add(1)
	}
	return m, err
}

func (f *FileSystem) enterLocked(spec store.Spec) (*mounted, error) {
	if f.mu.closed {
		return nil, ErrClosed
	}
	key := spec.Key()
	m := f.mu.trees[key]
	if m == nil {
		m = &mounted{key: key, spec: spec.Clone(), turn: semaphore.NewWeighted(1), owners: map[string]struct{}{}}
		f.mu.trees[key] = m
	}
	m.users++
	return m, nil
}

// setClosed makes later calls of enter fail. It reports whether this is its first call.
func (f *FileSystem) setClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := !f.mu.closed
	f.mu.closed = true
	return open
}

// enterOwned is enter for all trees of owner.
func (f *FileSystem) enterOwned(owner string) []*mounted {
	f.mu.Lock()
	defer f.mu.Unlock()
	trees := slices.Collect(maps.Keys(f.mu.owned[owner]))
	for _, m := range trees {
		m.users++
	}
	return trees
}

// enterAll is enter for all trees.
func (f *FileSystem) enterAll() []*mounted {
	f.mu.Lock()
	defer f.mu.Unlock()
	trees := slices.Collect(maps.Values(f.mu.trees))
	for _, m := range trees {
		m.users++
	}
	return trees
}

// enterAgain adds a user to a tree that has one.
func (f *FileSystem) enterAgain(m *mounted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.users++
}

// leave ends an enter. When the last user leaves, no call has the tree's turn, so that
// m.plan can be read.
func (f *FileSystem) leave(m *mounted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.users--
	if m.users == 0 && m.plan == nil {
		delete(f.mu.trees, m.key)
	}
}

// own makes owner an owner of m, which is mounted at target.
func (f *FileSystem) own(m *mounted, owner, target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.target = target
	m.owners[owner] = struct{}{}
	if f.mu.owned[owner] == nil {
		f.mu.owned[owner] = map[*mounted]struct{}{}
	}
	f.mu.owned[owner][m] = struct{}{}
}

// hasOthers reports whether m has owners other than owner.
func (f *FileSystem) hasOthers(m *mounted, owner string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, one := m.owners[owner]
	return len(m.owners) > 1 || len(m.owners) == 1 && !one
}

func (f *FileSystem) disown(m *mounted, owner string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disownLocked(m, owner)
}

func (f *FileSystem) disownAll(m *mounted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for owner := range m.owners {
		f.disownLocked(m, owner)
	}
}

func (f *FileSystem) disownLocked(m *mounted, owner string) {
	delete(m.owners, owner)
	delete(f.mu.owned[owner], m)
	if len(f.mu.owned[owner]) == 0 {
		delete(f.mu.owned, owner)
	}
}
