package layer

import "github.com/ladle-dev/ladle/index"

// span is the chunks with the numbers [first, end).
type span struct{ first, end int }

func (s span) has(n int) bool { return s.first <= n && n < s.end }

// maxGap is the number of bytes of present chunks that a run fetches again rather than
// end before them: it costs less than another request.
const maxGap = 64 << 10

// planner decides which chunks one request fetches.
type planner struct {
	table index.Table
	// absent reports whether a chunk is absent and in no run.
	absent func(n int) bool
	// inRun reports whether a chunk is in a run.
	inRun func(n int) bool
}

// around returns the span of a run for the chunks [n, end), of which n is absent. It
// begins and ends at the boundaries of streams. It has
//
//   - the absent chunks of [n, end), and then further absent ones that end within window
//     bytes of the blob from the beginning of the n-th chunk's stream,
//   - as far as no gap between them has more than maxGap bytes, and no chunk of it is in
//     a run,
//   - and the absent chunks before n, if they are few bytes, or the nearest of them: a
//     reader of the files of a directory seldom begins with the first.
func (p planner) around(n, end int, window int64) span {
	s := span{p.start(p.streamStart(n), window), n + 1}
	limit := p.table.At(n).BlobOffset + window
	last := s.end
	for s.end < p.table.Len() {
		c, prev := p.table.At(s.end), p.table.At(last-1)
		inStream := c.BlobOffset == prev.BlobOffset
		if !inStream && (p.inRun(s.end) || c.BlobOffset-prev.BlobEnd > maxGap || s.end >= end && c.BlobEnd > limit) {
			break
		}
		s.end++
		if inStream || p.absent(s.end-1) {
			last = s.end
		}
	}
	s.end = last
	return s
}

// start returns the first chunk of a run for the n-th chunk, the first of its stream: the
// first of the absent chunks before it, if these are at most a quarter of window; else so
// that they are at most 1/32 of window.
func (p planner) start(n int, window int64) int {
	behind := p.table.At(n).BlobOffset
	near := n
	for m := n; m > 0; m-- {
		if !p.absent(m - 1) {
			return p.streamStart(m)
		}
		size := behind - p.table.At(m-1).BlobOffset
		if size > window/4 {
			break
		}
		if size <= window/32 {
			near = m - 1
		}
	}
	return p.streamStart(near)
}

// streamStart returns the first chunk of the stream with the n-th chunk.
func (p planner) streamStart(n int) int {
	off := p.table.At(n).BlobOffset
	for n > 0 && p.table.At(n-1).BlobOffset == off {
		n--
	}
	return n
}
