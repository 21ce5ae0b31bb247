package index

import (
	"io"
	"sync"
)

// The bytes of a tar that are decompressed and not read yet: 4 MiB at most.
const (
	pipelineBlocks = 16
	pipelineBlock  = 256 << 10
)

// segment is bytes of a tar. The last one has err, which is io.EOF at the end of the tar.
type segment struct {
	buf []byte
	n   int
	err error
	// cuts are where streams of the blob begin, in bytes of the tar: all that begin with a
	// byte of this segment and were not in one before, and perhaps later ones. One that
	// begins with the first byte of the next segment may be known only there.
	cuts []int64
}

// pipeline decompresses a blob and hashes its tar, each in a goroutine of its own, for the
// one that reads the tar: decompressing takes longest, and does not wait for the others.
type pipeline struct {
	free     chan *segment
	unpacked chan *segment // to be hashed
	hashed   chan *segment // to be read
	quit     chan struct{} // closed when nothing more is read
	wg       sync.WaitGroup
	cur      *segment
	off      int     // bytes of cur that were read
	pos      int64   // bytes that were read
	cuts     []int64 // of the segments that were read, from pos on
}

// newPipeline reads u to its end, and writes all that it yields to sum, which never fails: a
// hash (hash.Hash), or io.Discard.
func newPipeline(u *unpacker, sum io.Writer) *pipeline {
	p := &pipeline{
		free:     make(chan *segment, pipelineBlocks),
		unpacked: make(chan *segment, pipelineBlocks),
		hashed:   make(chan *segment, pipelineBlocks),
		quit:     make(chan struct{}),
	}
	for range pipelineBlocks {
		p.free <- &segment{buf: make([]byte, pipelineBlock)}
	}
	p.wg.Go(func() { p.unpack(u) })
	p.wg.Go(func() {
		defer close(p.hashed)
		for s := range p.unpacked {
			sum.Write(s.buf[:s.n])
			p.hashed <- s
		}
	})
	return p
}

func (p *pipeline) unpack(u *unpacker) {
	defer close(p.unpacked)
	defer u.close()
	known := 0 // beginnings that are in segments
	for {
		var s *segment
		select {
		case <-p.quit:
			return
		case s = <-p.free:
		}
		for s.n, s.err = 0, nil; s.n < len(s.buf) && s.err == nil; {
			var n int
			n, s.err = u.Read(s.buf[s.n:])
			s.n += n
		}
		s.cuts = s.cuts[:0]
		for ; known < len(u.begins); known++ {
			s.cuts = append(s.cuts, u.begins[known].tar)
		}
		p.unpacked <- s // has room for all segments
		if s.err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (p *pipeline) Read(b []byte) (int, error) {
	if err := p.advance(); err != nil {
		return 0, err
	}
	n := copy(b, p.cur.buf[p.off:p.cur.n])
	p.off += n
	p.pos += int64(n)
	return n, nil
}

// advance waits for bytes to read. It returns the error at their end.
func (p *pipeline) advance() error {
	for p.cur == nil || p.off == p.cur.n {
		if p.cur != nil {
			if p.cur.err != nil {
				return p.cur.err
			}
			p.free <- p.cur
		}
		p.cur, p.off = <-p.hashed, 0
		p.cuts = append(p.cuts, p.cur.cuts...)
	}
	return nil
}

// together returns how many of the bytes that follow, at least one, are of one stream, and
// whether that stream begins with the first of them, which is said once.
func (p *pipeline) together() (n int, begins bool) {
	if p.advance() != nil {
		return 1, false // Read returns the error
	}
	for len(p.cuts) > 0 && p.cuts[0] <= p.pos {
		begins = p.cuts[0] == p.pos
		p.cuts = p.cuts[1:]
	}
	n = p.cur.n - p.off
	if len(p.cuts) > 0 {
		n = int(min(int64(n), p.cuts[0]-p.pos))
	}
	return n, begins
}

// stop ends the goroutines, and waits for them. What they read the blob from must not
// block any more, unless it was read to its end.
func (p *pipeline) stop() {
	close(p.quit)
	p.wg.Wait()
}
