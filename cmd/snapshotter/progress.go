package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// redrawEvery is how often a terminal shows the progress anew.
const redrawEvery = 200 * time.Millisecond

// progress shows the progress of work on an image's layers: on a terminal one line for each layer that
// is worked on, which is drawn anew; elsewhere one line for each layer that is done.
type progress struct {
	out      io.Writer
	terminal bool
	quiet    bool
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu struct {
		sync.Mutex
		order  []digest.Digest
		at     map[digest.Digest]state // layers that are worked on
		done   int
		of     int
		lines  int      // on the terminal, to be drawn over
		record []string // lines that stay, not yet printed
	}
}

// state is how far a layer is.
type state struct {
	stage    string
	done, of int64
}

// newProgress returns a progress that the caller ends.
func newProgress(out io.Writer, quiet bool) *progress {
	p := &progress{out: out, terminal: isTerminal(out), quiet: quiet, stop: make(chan struct{})}
	p.mu.at = map[digest.Digest]state{}
	if p.terminal && !quiet {
		p.stopped.Go(p.redraw)
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Began implements convert.Progress and indexer.Progress.
func (p *progress) Began(layers []digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.order, p.mu.of = layers, len(layers)
}

// advanced says how many bytes of a stage of a layer are done.
func (p *progress) advanced(layer digest.Digest, s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.at[layer] = s
}

// finished says what became of a layer.
func (p *progress) finished(layer digest.Digest, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.done++
	delete(p.mu.at, layer)
	line := fmt.Sprintf("[%d/%d] %s\n", p.mu.done, p.mu.of, what)
	switch {
	case p.quiet:
	case p.terminal:
		p.mu.record = append(p.mu.record, line)
	default:
		fmt.Fprint(p.out, line)
	}
}

// end ends the progress: all lines that stay are printed, no others.
func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	if p.terminal && !p.quiet {
		p.draw(true)
	}
}

func (p *progress) redraw() {
	for tick := time.NewTicker(redrawEvery); ; {
		select {
		case <-p.stop:
			tick.Stop()
			return
		case <-tick.C:
			p.draw(false)
		}
	}
}

// draw draws over what was drawn before. A line that is longer than the terminal is wide
// would take two, so they are short.
func (p *progress) draw(last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out strings.Builder
	if p.mu.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", p.mu.lines) // ECMA-48: up, erase what is below
	}
	for _, line := range p.mu.record {
		out.WriteString(line)
	}
	p.mu.record, p.mu.lines = nil, 0
	for _, layer := range p.mu.order {
		s, working := p.mu.at[layer]
		if last || !working {
			continue
		}
		fmt.Fprintf(&out, "%s %-11s %s of %s\n", shortDigest(layer.String()), s.stage, bytesText(s.done), bytesText(s.of))
		p.mu.lines++
	}
	fmt.Fprint(p.out, out.String())
}
