// Package report prints what a long command is doing, and its results.
package report

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress prints lines with the time since it was made.
type Progress struct {
	began time.Time
	mu    struct {
		sync.Mutex
		out io.Writer
	}
}

// NewProgress prints to out.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{began: time.Now()}
	p.mu.out = out
	return p
}

// Say prints one line.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.mu.out, "[%6.1fs] %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}
