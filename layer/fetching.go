package layer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/store"
)

// errNoRoom is what a run ends with when the disk is full.
var errNoRoom = errors.New("no room for the layer's bytes")

// join returns the run that fetches the n-th chunk, starting one if there is
// none, or nil if the chunk is no longer absent. A run that is started fetches
// the chunks before end, too.
func (l *Layer) join(n, end int) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.used = time.Now()
	for _, r := range l.mu.runs {
		if r.has(n) && n >= r.at() {
			return r
		}
	}
	if l.data.State(n) != store.Absent {
		return nil
	}
	return l.startLocked(n, end)
}

// startLocked starts the run for an absent chunk.
func (l *Layer) startLocked(n, end int) *run {
	offset := l.table.At(n).BlobOffset
	window := l.mu.ahead.miss(n, offset, l.firstWindow())
	r := l.runLocked(n, end, window)
	last := l.table.At(r.end - 1)
	l.mu.ahead.fetched(r.end, last.BlobEnd)
	return r
}

// runLocked starts a run of up to window bytes of the blob from chunk n on.
func (l *Layer) runLocked(n, end int, window int64) *run {
	p := planner{table: l.table, absent: l.absentLocked}
	r := newRun(p.around(n, end, window))
	l.mu.runs = append(l.mu.runs, r)
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		err := l.fetch(r)
		l.mu.Lock()
		l.mu.runs = slices.DeleteFunc(l.mu.runs, func(o *run) bool { return o == r })
		l.mu.Unlock()
		r.finish(err)
	}()
	return r
}

// absentLocked reports whether the n-th chunk is absent and in no run.
func (l *Layer) absentLocked(n int) bool {
	if l.data.State(n) != store.Absent {
		return false
	}
	return !slices.ContainsFunc(l.mu.runs, func(r *run) bool { return r.has(n) })
}

// firstWindow is twice what the link carries during one round trip: with much
// less a request costs more than its bytes, with much more the bytes that
// nobody asked for hold up those that somebody will.
func (l *Layer) firstWindow() int64 {
	link := l.sources.link()
	return min(max(int64(2*link.RoundTrip.Seconds()*link.Bandwidth), minFirst), maxFirst)
}

// readAhead starts the next run of a sequential reader that has read the
// chunks of s.
func (l *Layer) readAhead(s span) {
	if s.first == s.end {
		return
	}
	n := s.end - 1
	offset := l.table.At(n).BlobOffset
	l.mu.Lock()
	defer l.mu.Unlock()
	next, ok := l.mu.ahead.ahead(n, offset)
	if ok && next < l.table.Len() && l.absentLocked(next) {
		l.startLocked(next, next+1)
	}
}

// fetch makes the chunks of r present, from one source after the other. A
// host that sends wrong bytes is given no second chance, its source is.
func (l *Layer) fetch(r *run) error {
	err := errors.New("no image names the blob")
	for _, blob := range l.sources.blobs() {
		for range maxLies {
			err = l.stream(r, blob)
			if !errors.Is(err, errWrongBytes) {
				break
			}
		}
		if err == nil || l.ctx.Err() != nil || errors.Is(err, errNoRoom) {
			return err
		}
	}
	return err
}

// maxLies is from how many hosts of one source a run takes wrong bytes.
const maxLies = 3

// stream fetches what r still lacks in one request.
func (l *Layer) stream(r *run, blob *fetch.Blob) error {
	first, last := l.table.At(r.at()), l.table.At(r.span.end-1)
	body, err := blob.Range(l.ctx, first.BlobOffset, last.BlobEnd-first.BlobOffset)
	if err != nil {
		return err
	}
	defer body.Close()
	in := input{r: bufio.NewReaderSize(body, 64<<10), pos: first.BlobOffset}
	for n := r.at(); n < r.span.end; n = r.at() {
		if err := l.unpack(&in, r, n); err != nil {
			if errors.Is(err, errWrongBytes) {
				body.Blame()
			}
			return err
		}
	}
	return nil
}

// unpack reads the stream at which the n-th chunk starts and makes all its
// chunks present. Since r.at() may be in the middle of a stream when a run is
// tried again, chunks of the stream before the n-th are skipped.
func (l *Layer) unpack(in *input, r *run, n int) error {
	head := l.table.At(n)
	if err := in.skipTo(head.BlobOffset); err != nil {
		return err
	}
	s := &stream{in: in, end: head.BlobEnd, compression: l.table.Compression()}
	defer s.close()
	for ; n < r.span.end && l.table.At(n).BlobOffset == head.BlobOffset; n++ {
		if l.data.State(n) != store.Present {
			if err := l.fill(s, n); err != nil {
				return err
			}
		}
		r.advance(n + 1)
	}
	return nil
}

// fill reads the n-th chunk from its stream, verifies and keeps it.
func (l *Layer) fill(s *stream, n int) error {
	c := l.table.At(n)
	p := buffers.get(c.Size)
	defer buffers.put(p)
	if err := s.read(p, c.InnerOffset); err != nil {
		return err
	}
	if err := verify(c, p); err != nil {
		return err
	}
	if err := l.data.Fill(n, c.DataOffset, p); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	} else if err != nil {
		return err
	}
	return nil
}

// read returns the n-th chunk from the first source that has it.
func (l *Layer) read(ctx context.Context, n int) ([]byte, error) {
	c := l.table.At(n)
	err := errors.New("no image names the blob")
	for _, blob := range l.sources.blobs() {
		var p []byte
		if p, err = l.readFrom(ctx, blob, n); err == nil {
			return p, verify(c, p)
		}
	}
	return nil, err
}

func (l *Layer) readFrom(ctx context.Context, blob *fetch.Blob, n int) ([]byte, error) {
	c := l.table.At(n)
	body, err := blob.Range(ctx, c.BlobOffset, c.BlobEnd-c.BlobOffset)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	in := input{r: bufio.NewReader(body), pos: c.BlobOffset}
	s := &stream{in: &in, end: c.BlobEnd, compression: l.table.Compression()}
	defer s.close()
	p := make([]byte, c.Size)
	if err := s.read(p, c.InnerOffset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, nil
}
