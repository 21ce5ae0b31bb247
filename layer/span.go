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
//   - and those before n that would be left as a small gap.
func (p planner) around(n, end int, window int64) span {
	s := span{p.gapStart(p.streamStart(n), window/4), n + 1}
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

// gapStart returns the first of the absent chunks that end where the n-th
// starts, if they are between it and a chunk that is not absent and have most
// bytes of the blob at most; otherwise n.
func (p planner) gapStart(n int, most int64) int {
	behind := p.table.At(n).BlobOffset
	for m := n; m > 0 && behind-p.table.At(m).BlobOffset <= most; m-- {
		if !p.absent(m - 1) {
			return p.streamStart(m)
		}
	}
	return n
}

// streamStart returns the first chunk of the stream that the n-th is in.
func (p planner) streamStart(n int) int {
	off := p.table.At(n).BlobOffset
	for n > 0 && p.table.At(n-1).BlobOffset == off {
		n--
	}
	return n
}
