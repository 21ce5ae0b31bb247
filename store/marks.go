package store

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ladle-dev/ladle/durable"
)

// marks are the presence marks of an open layer, in memory and in their file.
// Reading them takes no lock.
//
// A file of an earlier boot is not valid, and is replaced. While there is no space for the
// new file the marks are in memory only. The next process finds the invalid file, and
// verifies or fetches the chunks again.
type marks struct {
	path   string
	bootID string

	n     int
	words []atomic.Uint32 // the state of chunk i is byte i%4 of word i/4

	// missing is how many chunks are not present. It is never too small.
	missing atomic.Int64

	// losses counts how often all chunks became absent because the kernel
	// could not write some of them to disk.
	losses atomic.Uint64

	// mu is held to change a mark or losses, in memory and in the file. A chunk
	// becomes present in the file before it does in memory. While unemptied is set no
	// chunk becomes present.
	mu struct {
		sync.Mutex
		file  *os.File  // nil: there is no space for it
		tried time.Time // when it was last tried to make the file

		unemptied error // why the data file may have pages that were lost
	}
}

// marksRetry is the time between two attempts to make the file while there is no space.
const marksRetry = 5 * time.Second

func openMarks(path, bootID string, n int) (*marks, error) {
	states, sound, err := loadMarks(path, bootID, n)
	if err != nil {
		return nil, err
	}
	m := &marks{path: path, bootID: bootID, n: n, words: make([]atomic.Uint32, (n+3)/4)}
	m.missing.Store(int64(n))
	for i, s := range states {
		m.putLocked(i, s)
	}
	if sound {
		m.mu.file, err = os.OpenFile(path, os.O_RDWR, 0)
	} else {
		err = m.makeFileLocked()
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// makeFileLocked makes the file, unless there is no space, or was none lately.
func (m *marks) makeFileLocked() error {
	if time.Since(m.mu.tried) < marksRetry {
		return nil
	}
	m.mu.tried = time.Now()
	states := make([]State, m.n)
	for i := range states {
		states[i] = m.get(i)
	}
	err := durable.Write(m.path, encodeMarks(m.bootID, states))
	if durable.NoSpace(err) {
		return nil
	}
	if err == nil {
		m.mu.file, err = os.OpenFile(m.path, os.O_RDWR, 0)
	}
	return err
}

// writeLocked writes to the file, behind its header.
func (m *marks) writeLocked(p []byte, off int64) error {
	if m.mu.file == nil {
		if err := m.makeFileLocked(); err != nil || m.mu.file == nil {
			return err
		}
	}
	_, err := m.mu.file.WriteAt(p, marksHeader+off)
	return err
}

func (m *marks) get(i int) State {
	return State(m.words[i/4].Load() >> (i % 4 * 8))
}

// present returns how many chunks are not absent.
func (m *marks) present() (n int) {
	for i := range m.n {
		if m.get(i) != Absent {
			n++
		}
	}
	return n
}

func (m *marks) putLocked(i int, s State) {
	word, shift := &m.words[i/4], i%4*8
	was := m.get(i)
	if was == Present && s != Present {
		m.missing.Add(1)
	}
	word.Store(word.Load()&^(0xff<<shift) | uint32(s)<<shift)
	if was != Present && s == Present {
		m.missing.Add(-1)
	}
}

// setLocked sets the state of chunk i. If it fails the state is the lower of the
// old and the new one.
func (m *marks) setLocked(i int, s State) error {
	if i < 0 || i >= m.n {
		return fmt.Errorf("there are %d chunks", m.n)
	}
	if m.get(i) == s {
		return nil
	}
	if s < m.get(i) {
		m.putLocked(i, s)
	}
	if err := m.writeLocked([]byte{markBytes[s]}, int64(i)); err != nil {
		return err
	}
	m.putLocked(i, s)
	return nil
}

// filled sets chunk i present: its bytes were written after losses was read as
// since. If chunks were lost meanwhile it changes nothing and returns ErrLost.
func (m *marks) filled(i int, since uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.losses.Load() != since {
		return ErrLost
	}
	return m.setLocked(i, Present)
}

// mark sets the state of chunk i. Only a doubtful chunk becomes present.
func (m *marks) mark(i int, s State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == Present && i < m.n && m.get(i) == Absent {
		return nil
	}
	return m.setLocked(i, s)
}

// loseLocked sets all chunks absent.
func (m *marks) loseLocked() error {
	m.missing.Store(int64(m.n))
	for i := range m.words {
		m.words[i].Store(0)
	}
	m.losses.Add(1)
	return m.writeLocked(make([]byte, m.n), 0)
}

func (m *marks) close() error {
	if m.mu.file == nil {
		return nil
	}
	return m.mu.file.Close()
}
