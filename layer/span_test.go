package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/index"
)

// field is a table of chunks with what is known of each.
type field struct {
	index.Table
	state []byte // '-' absent, 'P' present, 'c' coming
}

func (f field) planner() planner {
	return planner{f.Table,
		func(n int) bool { return f.state[n] == '-' },
		func(n int) bool { return f.state[n] == 'c' },
	}
}

// randomField returns streams of one or more chunks with gaps between them.
// Runs have whole streams: the chunks of a stream are all coming or none.
func randomField(t *testing.T, r *rand.Rand) field {
	t.Helper()
	x := &index.Index{Compression: index.Gzip}
	var f field
	var blob, data int64
	for range 1 + r.IntN(60) {
		blob += r.Int64N(2) * r.Int64N(2*maxGap)
		size := 1 + r.Int64N(maxGap)
		coming := r.IntN(6) == 0
		for c := range 1 + int64(r.IntN(4)*r.IntN(2)) {
			x.Chunks = append(x.Chunks, index.Chunk{DataOffset: data, Size: 10, BlobOffset: blob, BlobEnd: blob + size, InnerOffset: 10 * c})
			data += 10
			f.state = append(f.state, "-P"[r.IntN(2)])
			if coming {
				f.state[len(f.state)-1] = 'c'
			}
		}
		blob += size
	}
	var err error
	if f.Table, err = index.DecodeTable(index.EncodeTable(x)); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f field) inStream(a, b int) bool { return f.At(a).BlobOffset == f.At(b).BlobOffset }

// stream returns the states of the chunks in the stream of the n-th.
func (f field) stream(n int) (states []byte) {
	for m := range f.state {
		if f.inStream(m, n) {
			states = append(states, f.state[m])
		}
	}
	return states
}

// streamHas reports whether a chunk in the stream of the n-th is absent.
func (f field) streamHas(n int) bool {
	return slices.Contains(f.stream(n), '-')
}

// reachable reports whether a run that ends at from can go on to chunk m: all
// that is between them is a small gap.
func (f field) reachable(from, m int) bool {
	for n := from; n < m; n++ {
		if f.state[n] == 'c' {
			return false
		}
	}
	return f.At(m).BlobOffset-f.At(from-1).BlobEnd <= maxGap
}

// TestPlannerPromises compares plans with what planner.around promises.
func TestPlannerPromises(t *testing.T) {
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 0))
		f := randomField(t, r)
		n := r.IntN(f.Len())
		if f.state[n] != '-' {
			continue
		}
		end := n + 1 + r.IntN(f.Len()-n)
		window := r.Int64N(8 * maxGap)
		s := f.planner().around(n, end, window)
		for _, broken := range f.broken(s, n, end, window) {
			t.Errorf("seed %d: [%d,%d) around [%d,%d) with window %d: %s\n%s", seed, s.first, s.end, n, end, window, broken, f.state)
		}
		if t.Failed() {
			return
		}
	}
}

// broken returns the promises that s breaks.
func (f field) broken(s span, n, end int, window int64) (all []string) {
	fail := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if !s.has(n) {
		fail("it has not %d", n)
		return all
	}
	if s.first > 0 && f.inStream(s.first-1, s.first) || s.end < f.Len() && f.inStream(s.end-1, s.end) {
		fail("it cuts a stream")
	}
	if !f.streamHas(s.first) || !f.streamHas(s.end-1) {
		fail("it starts or ends with what is not absent")
	}
	most := window / 4
	if (s.first == 0 || f.state[s.first-1] == '-') && !strings.ContainsAny(string(f.stream(s.first)), "Pc") {
		most = window / 32 // no gap is closed
	}
	if f.At(n).BlobOffset-f.At(s.first).BlobOffset > most {
		fail("it starts too early")
	}
	last := n
	for m := s.first; m < s.end; m++ {
		if f.state[m] == 'c' {
			fail("%d is coming", m)
		}
		if m > n && f.streamHas(m) {
			if f.At(m).BlobOffset-f.At(last).BlobEnd > maxGap {
				fail("there is a gap before %d", m)
			}
			last = m
		}
		if m >= end && !f.inStream(m, end-1) && !f.inStream(m, n) && f.At(m).BlobEnd > f.At(n).BlobOffset+window {
			fail("%d is outside of the window", m)
		}
	}
	for m := s.end; m < f.Len(); m++ {
		wanted := m < end || f.At(m).BlobEnd <= f.At(n).BlobOffset+window
		if wanted && f.state[m] == '-' && f.reachable(s.end, m) {
			fail("%d is left out", m)
		}
	}
	return all
}
