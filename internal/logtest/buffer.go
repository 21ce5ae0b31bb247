package logtest

import (
	"bytes"
	"sync"
)

// Buffer is an io.Writer whose content can be read while others write to it, each
// Write as a whole. The zero value is empty and ready for use.
type Buffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

// Write appends p.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Write(p)
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.String()
}
