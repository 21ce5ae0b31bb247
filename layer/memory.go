package layer

import (
	"context"
	"sync"

	"github.com/ladle-dev/ladle/store"
)

// memory keeps the last chunks that the disk had no room for, so that a
// reader of small pieces does not fetch a chunk for each of them.
type memory struct {
	mu struct {
		sync.Mutex
		// chunks are the newest last, at most memoryChunks.
		chunks []kept
	}
}

type kept struct {
	n int
	p []byte
}

const memoryChunks = 4

func (m *memory) get(n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.mu.chunks {
		if k.n == n {
			return k.p
		}
	}
	return nil
}

func (m *memory) put(n int, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.chunks = append(m.mu.chunks, kept{n, p})
	if len(m.mu.chunks) > memoryChunks {
		m.mu.chunks = append([]kept(nil), m.mu.chunks[1:]...)
	}
}

// readThrough is ReadAt without a disk: chunks go from the registry to p.
func (l *Layer) readThrough(ctx context.Context, p []byte, off int64, need span) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.set.opts.ReadTimeout, ErrTimeout)
	defer cancel()
	if n, err := l.data.ReadAt(p, off); err != nil {
		return n, err
	}
	for n := need.first; n < need.end; n++ {
		if l.data.State(n) == store.Present {
			continue
		}
		chunk := l.memory.get(n)
		if chunk == nil {
			var err error
			if chunk, err = l.read(ctx, n); err != nil {
				return 0, err
			}
			l.memory.put(n, chunk)
		}
		c := l.table.At(n)
		from, to := max(off, c.DataOffset), min(off+int64(len(p)), c.DataOffset+c.Size)
		copy(p[from-off:to-off], chunk[from-c.DataOffset:to-c.DataOffset])
	}
	return len(p), nil
}
