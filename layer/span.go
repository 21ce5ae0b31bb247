package layer

import "github.com/ladle-dev/ladle/index"

// span is the chunks with the numbers [first, end).
type span struct{ first, end int }

func (s span) has(n int) bool { return s.first <= n && n < s.end }

// maxGap is how many bytes of a blob that are present already a run takes
// along rather than end before them: less than a request costs.
const maxGap = 64 << 10

// planner decides which chunks one request fetches.
type planner struct {
	table index.Table
	// absent says whether a chunk must be fetched and no run fetches it.
	absent func(n int) bool
	// coming says whether a run fetches it.
	coming func(n int) bool
}

// around returns the span of a run for the chunks [n, end), n being absent. It
// starts and ends where streams do. It has
//   - the absent chunks of [n, end), and then others that end within window
//     bytes of the blob from the start of the n-th chunk's stream on,
//   - as far as no gap of more than maxGap bytes is between them, and none is
//     coming,
//   - and those before n that would be left as a small gap, or the nearest of
//     them: who reads a directory's files seldom starts with the first.
func (p planner) around(n, end int, window int64) span {
	s := span{p.start(p.streamStart(n), window), n + 1}
	limit := p.table.At(n).BlobOffset + window
	keep := s.end
	for s.end < p.table.Len() {
		c, last := p.table.At(s.end), p.table.At(keep-1)
		inStream := c.BlobOffset == last.BlobOffset
		if !inStream && (p.coming(s.end) || c.BlobOffset-last.BlobEnd > maxGap || s.end >= end && c.BlobEnd > limit) {
			break
		}
		s.end++
		if inStream || p.absent(s.end-1) {
			keep = s.end
		}
	}
	s.end = keep
	return s
}

// start returns where a run starts for the n-th chunk, which is the first of
// its stream: at the first of the absent chunks before it, if they have a
// quarter of window at most; otherwise so that those have 1/32 of it.
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

// streamStart returns the first chunk of the stream that the n-th is in.
func (p planner) streamStart(n int) int {
	off := p.table.At(n).BlobOffset
	for n > 0 && p.table.At(n-1).BlobOffset == off {
		n--
	}
	return n
}
