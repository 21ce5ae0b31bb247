package fs

import (
	"maps"
	"slices"

	"golang.org/x/sync/semaphore"
)

// enter returns what k identifies, and counts the caller as its user until leave.
func (f *FileSystem) enter(k key) (*mounted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.enterLocked(k)
}

// enterToWarm is enter for a goroutine that Close waits for until it calls
// f.warming.Done. Close waits after setClosed, so that no goroutine is added later.
func (f *FileSystem) enterToWarm(k key) (*mounted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.enterLocked(k)
	if err == nil {
		f.warming.Add(1)
	}
	return m, err
}

func (f *FileSystem) enterLocked(k key) (*mounted, error) {
	if f.mu.closed {
		return nil, ErrClosed
	}
	m := f.mu.mounts[k]
	if m == nil {
		m = &mounted{key: k, turn: semaphore.NewWeighted(1), owners: map[string]struct{}{}}
		f.mu.mounts[k] = m
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

// enterOwned is enter for all that owner has, clones before the trees that they are of.
func (f *FileSystem) enterOwned(owner string) []*mounted {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Collect(maps.Keys(f.mu.owned[owner]))
	for _, m := range all {
		m.users++
	}
	slices.SortFunc(all, clonesFirst)
	return all
}

// enterAll is enter for all that is mounted: clones, and trees.
func (f *FileSystem) enterAll() (clones, trees []*mounted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.mu.mounts {
		m.users++
		if m.key.isClone() {
			clones = append(clones, m)
		} else {
			trees = append(trees, m)
		}
	}
	return clones, trees
}

func clonesFirst(a, b *mounted) int {
	switch {
	case a.key.isClone() == b.key.isClone():
		return 0
	case a.key.isClone():
		return -1
	}
	return 1
}

// enterAgain adds a user to m, which has one.
func (f *FileSystem) enterAgain(m *mounted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.users++
}

// leave ends an enter. When the last user leaves, no call has the turn of m, so that m.at
// can be read.
func (f *FileSystem) leave(m *mounted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.users--
	if m.users == 0 && m.at == nil {
		delete(f.mu.mounts, m.key)
	}
}

// own makes owner an owner of m, at which at is mounted.
func (f *FileSystem) own(m *mounted, owner string, at attached) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.shown = at
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
