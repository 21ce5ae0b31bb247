package snapshot

import "context"

// What runs above a file that gets another name sees its time of change move, and
// its number of names. GNU tar fails then ("file changed as we read it"). Hence no
// file gets one while something may run where it is shown, and nothing is started
// there until it has. Views are not counted: BuildKit keeps one of whatever it
// found the digests of.

// busy reports whether something may run where one of members is shown.
func (m *settlers) busy(members sources) bool {
	m.shown.mu.Lock()
	defer m.shown.mu.Unlock()
	return m.busyLocked(members)
}

func (m *settlers) busyLocked(members sources) bool {
	for _, shows := range m.shown.mu.written {
		if shows.meets(members) {
			return true
		}
	}
	return false
}

// take lets files of members get names until done is called, or reports false if
// they are busy. There is one at a time: the caller has locked copies.
func (m *settlers) take(members sources) (done func(), ok bool) {
	m.shown.mu.Lock()
	defer m.shown.mu.Unlock()
	if m.busyLocked(members) {
		return nil, false
	}
	m.shown.mu.taken, m.shown.mu.link = members, make(chan struct{})
	return func() {
		m.shown.mu.Lock()
		defer m.shown.mu.Unlock()
		m.shown.mu.taken = nil
		close(m.shown.mu.link)
	}, true
}

// wait returns when nothing that the snapshot id shows is taken, if it is written
// to. What is taken afterwards is not what it shows.
func (m *settlers) wait(ctx context.Context, id string) error {
	for {
		m.shown.mu.Lock()
		wait, link := m.shown.mu.written[id].meets(m.shown.mu.taken), m.shown.mu.link
		m.shown.mu.Unlock()
		if !wait {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-link:
		}
	}
}
