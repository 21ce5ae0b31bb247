package layer

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// largeBuffer is the size in bytes from which a buffer is mapped, and unmapped after use:
// the heap would retain it for some time, and the pool would reuse it for a small chunk.
const largeBuffer = 4<<20 + 1

// bufferPool has buffers for chunks.
type bufferPool struct{ sync.Pool }

var buffers bufferPool

// get returns a buffer of size bytes with arbitrary content, until put.
func (b *bufferPool) get(size int64) ([]byte, error) {
	if size >= largeBuffer {
		p, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return nil, fmt.Errorf("memory for a chunk of %d bytes: %w", size, err)
		}
		return p, nil
	}
	if p, ok := b.Get().(*[]byte); ok && int64(cap(*p)) >= size {
		return (*p)[:size], nil
	}
	return make([]byte, size), nil
}

// put releases a buffer of get.
func (b *bufferPool) put(p []byte) {
	if len(p) < largeBuffer {
		b.Put(&p)
		return
	}
	if err := unix.Munmap(p); err != nil {
		panic(err) // p is not a buffer of get
	}
}
