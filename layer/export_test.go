package layer

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/fetch"
)

// For the tests of what is linked to what.
var LinkedTo = linkedTo

const MaxNames = maxNames

// Starve leaves no blocks to the parts of runs but their own, and lets one run at
// a time go ahead of readers. Nothing may be under way.
func Starve(s *Set) {
	s.budget.blocks = semaphore.NewWeighted(0)
	s.budget.runs = semaphore.NewWeighted(1)
}

// Runs returns how many runs l has, those included that wait for their turn.
func Runs(l *Layer) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.runs)
}

// Readers returns how many readers wait for runs of l.
func Readers(l *Layer) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.mu.runs {
		r.mu.Lock()
		n += r.mu.readers
		r.mu.Unlock()
	}
	return n
}

// IsOpening reports whether the index of src is being fetched.
func IsOpening(s *Set, src fetch.Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.mu.openings[src]
	return o != nil && !o.hasEnded()
}

// IsPresent reports whether all chunks with bytes in [off, off+n) are present.
func (l *Layer) IsPresent(off, n int64) bool { return l.present(l.overlap(off, n), nil) }

// ImportsMade returns how many imports have ended whose layers nobody asked for yet.
func ImportsMade(s *Set) (n int) {
	s.imports.mu.Lock()
	defer s.imports.mu.Unlock()
	for _, i := range s.imports.mu.all {
		select {
		case <-i.done:
			n++
		default:
		}
	}
	return n
}

// SlotOrder returns the order in which imports get the one slot that there is. They came in
// the order of waiters, the number of Opens that wait for each.
func SlotOrder(waiters []int) string {
	s := newSlots(1)
	s.mu.free = 0
	for _, n := range waiters {
		q := &queued{&importing{}, make(chan struct{})}
		q.i.waiters.Store(int32(n))
		s.mu.queue = append(s.mu.queue, q)
	}
	all := slices.Clone(s.mu.queue)
	var order []string
	for range all {
		s.release()
		for n, q := range all {
			select {
			case <-q.granted:
				order = append(order, strconv.Itoa(n))
				q.granted = nil
			default:
			}
		}
	}
	return strings.Join(order, " ")
}

// Chunks returns how many chunks l has.
func Chunks(l *Layer) int { return l.table.Len() }

// Resum gives a chunk table with points the right checksums of both.
func Resum(table []byte) []byte {
	sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	end := len(table) - 8
	points := table[end-int(binary.LittleEndian.Uint64(table[end:])) : end]
	binary.LittleEndian.PutUint32(points[len(points)-4:], sum(points[:len(points)-4]))
	return ResumChunks(table)
}

// ResumChunks gives a chunk table the right checksum.
func ResumChunks(table []byte) []byte {
	binary.LittleEndian.PutUint64(table[8:], uint64(crc32.Checksum(table[16:], crc32.MakeTable(crc32.Castagnoli))))
	return table
}
