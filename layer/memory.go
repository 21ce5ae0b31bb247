package layer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// memoryBytes is how much is kept for all layers. The chunk that was kept
	// last stays, however large.
	memoryBytes = 32 << 20

	// memoryLife is how long after the last one all chunks are forgotten. Then
	// the disk is tried again.
	memoryLife = 5 * time.Second

	// runMemory is after how many bytes a run ends that has to keep them here.
	runMemory = 4 << 20
)

// memory keeps chunks that the disk does not take, or takes and loses, so that
// reads go on while it is full, and those that no reader asked for while little of
// it is free: of all layers, the newest.
type memory struct {
	purge *time.Timer
	low   atomic.Bool // whether the log says that little of the disk is free
	mu    struct {
		sync.Mutex
		chunks *simplelru.LRU[chunkID, []byte]
		bytes  int64     // of all chunks
		full   time.Time // when the disk last did not take one
		lost   time.Time // when the disk last lost some
	}
}

type chunkID struct {
	layer uint64 // its number
	n     int
}

func newMemory() *memory {
	m := new(memory)
	// What bounds it is not the number of chunks.
	chunks, err := simplelru.NewLRU(memoryBytes, func(_ chunkID, p []byte) { m.mu.bytes -= int64(len(p)) })
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	m.mu.chunks = chunks
	m.purge = time.AfterFunc(memoryLife, m.forget)
	return m
}

func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.chunks.Purge()
}

// get returns a chunk, which nobody changes, or nil.
func (m *memory) get(id chunkID) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, _ := m.mu.chunks.Get(id)
	return p
}

// put keeps a copy of p.
func (m *memory) put(id chunkID, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.chunks.Remove(id)
	m.mu.chunks.Add(id, slices.Clone(p))
	m.mu.bytes += int64(len(p))
	for m.mu.bytes > memoryBytes && m.mu.chunks.Len() > 1 {
		m.mu.chunks.RemoveOldest()
	}
	m.purge.Reset(memoryLife)
}

// has reports whether a chunk is kept.
func (m *memory) has(id chunkID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.chunks.Contains(id)
}

// refuse says that the disk did not take a chunk. It reports whether that is news.
func (m *memory) refuse() (news bool) {
	news = !m.refused()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.full = time.Now()
	return news
}

// refused reports whether the disk did not take chunks lately, or lost some.
func (m *memory) refused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.mu.full) < memoryLife || time.Since(m.mu.lost) < memoryLife
}

// distrust says that the disk lost what it had taken. It reports whether that
// is news.
func (m *memory) distrust() (news bool) {
	news = !m.distrusts()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.lost = time.Now()
	return news
}

// distrusts reports whether chunks are to be kept here and not on the disk.
func (m *memory) distrusts() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.mu.lost) < memoryLife
}
