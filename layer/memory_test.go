package layer

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	defer m.purge.Stop()
	p := make([]byte, 10<<20)
	for n := range 5 {
		p[0] = byte(n)
		m.put(chunkID{1, n}, p)
	}
	for n := range 5 {
		if got := m.get(chunkID{1, n}); (got != nil) != (n >= 2) || got != nil && got[0] != byte(n) {
			t.Errorf("chunk %d: %d bytes", n, len(got))
		}
	}
	m.put(chunkID{2, 0}, make([]byte, 60<<20))
	m.put(chunkID{2, 0}, make([]byte, 60<<20))
	if m.mu.bytes != 60<<20 || m.get(chunkID{2, 0}) == nil {
		t.Errorf("%d bytes, want those of one large chunk", m.mu.bytes)
	}
}

func TestMemoryForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		for range 3 {
			m.put(chunkID{1, 1}, []byte("bytes"))
			time.Sleep(memoryLife - time.Second)
			if !bytes.Equal(m.get(chunkID{1, 1}), []byte("bytes")) || !m.has(chunkID{1, 1}) {
				t.Error("forgotten too early")
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if m.mu.chunks.Len() > 0 || m.mu.bytes != 0 {
			t.Errorf("%d bytes are kept", m.mu.bytes)
		}
		if m.isLossy() {
			t.Error("no reason for distrust")
		}
		if !m.recordLoss() || m.recordLoss() || !m.isLossy() {
			t.Error("distrust is news once")
		}
		time.Sleep(memoryLife)
		if m.isLossy() {
			t.Error("distrust for ever")
		}
	})
}
