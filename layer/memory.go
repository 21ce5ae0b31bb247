package layer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// memoryBytes bounds the cached bytes of all layers. The newest chunk is cached
	// even if it is larger.
	memoryBytes = 32 << 20

	// memoryLife is the time after the newest chunk at which all chunks are dropped,
	// and after a disk error at which the disk is tried again.
	memoryLife = 5 * time.Second

	// runMemory bounds the bytes that one run may cache; then it ends.
	runMemory = 4 << 20
)

// memory caches the newest chunks, of all layers, that cannot be stored on disk: the disk
// is full, loses what is written, or has less free space than the reserve and no reader
// requested the chunk.
type memory struct {
	purge *time.Timer
	low   atomic.Bool // the last logged state: free space is below the reserve
	mu    struct {
		sync.Mutex
		chunks *simplelru.LRU[chunkID, []byte]
		bytes  int64     // of all chunks
		full   time.Time // when the disk last refused a chunk
		lost   time.Time // when the disk last lost chunks
	}
}

type chunkID struct {
	layer uint64 // its number
	n     int
}

func newMemory() *memory {
	m := new(memory)
	// The bound is memoryBytes; the number of chunks is smaller.
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

// get returns a cached chunk, which must not be changed, or nil.
func (m *memory) get(id chunkID) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, _ := m.mu.chunks.Get(id)
	return p
}

// put caches a copy of p.
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

// has reports whether a chunk is cached.
func (m *memory) has(id chunkID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.chunks.Contains(id)
}

// recordRefusal records that the disk refused a chunk. It reports whether that is a
// change.
func (m *memory) recordRefusal() (changed bool) {
	changed = !m.isUnavailable()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.full = time.Now()
	return changed
}

// isUnavailable reports whether the disk refused or lost chunks within memoryLife.
func (m *memory) isUnavailable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.mu.full) < memoryLife || time.Since(m.mu.lost) < memoryLife
}

// recordLoss records that the disk lost chunks. It reports whether that is a change.
func (m *memory) recordLoss() (changed bool) {
	changed = !m.isLossy()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.lost = time.Now()
	return changed
}

// isLossy reports whether the disk lost chunks within memoryLife, so that new ones must
// be cached.
func (m *memory) isLossy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.mu.lost) < memoryLife
}
