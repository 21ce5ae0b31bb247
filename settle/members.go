package settle

import "github.com/ladle-dev/ladle/hardlink"

// members implements hardlink.Members for the Worker's pool. Only the Worker's goroutine uses
// it.
type members struct {
	sharing *Sharing
	list    func() ([]Snapshot, error) // Snapshots.List, with the context of the pass in progress
	thread  thread
	census  census
}

var _ hardlink.Members = (*members)(nil)

// Dir implements hardlink.Members.
func (m *members) Dir(id uint64) string { return m.sharing.opts.Snapshots.Dir(id) }

// Free implements hardlink.Members.
func (m *members) Free(id uint64) bool { return m.sharing.free(id) }

// Pair implements hardlink.Members.
func (m *members) Pair(a uint64, others []uint64) error {
	return m.sharing.partners.addSettled(a, others)
}

// Apart implements hardlink.Members.
func (m *members) Apart(a, b uint64) bool {
	return m.update() == nil && a != b && m.census.isApart(a, b)
}

// update makes a new census if a merge was made since the last one.
func (m *members) update() error {
	merges := m.sharing.merges.Load() + 1
	if m.census.merges == merges {
		return nil
	}
	all, err := m.list()
	if err == nil {
		m.census = newCensus(all, merges)
	}
	return err
}

// Hold implements hardlink.Members.
func (m *members) Hold(do func() error) error {
	return m.thread.hurry(func() error {
		m.stopMaking()
		defer m.sharing.replacing.Unlock()
		return do()
	})
}

// stopMaking locks replacing for writing. It brings the census for Apart up to date before it
// takes the lock, for which other calls wait. After three merges in a row during that it
// leaves it to Apart.
func (m *members) stopMaking() {
	for range 3 {
		_ = m.update() // Apart repeats it, and reports the error
		m.sharing.replacing.Lock()
		if m.census.merges == m.sharing.merges.Load()+1 {
			return
		}
		m.sharing.replacing.Unlock()
	}
	m.sharing.replacing.Lock()
}
