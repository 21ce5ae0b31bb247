package memtest

import (
	"runtime"
	"testing"
)

// Floor is how many bytes a parser may allocate whatever it is given: buffers,
// and tables and windows of decompressors.
const Floor = 24 << 20

// Allocated returns how many bytes f allocates, those included that are free
// again when it returns. Nothing else may run meanwhile.
func Allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// Held returns by how many bytes the heap has grown when f has returned, while
// what it returns is held.
func Held[T any](f func() T) (result T, growth int64) {
	before := settled()
	result = f()
	growth = settled() - before
	return result, growth
}

// settled returns the size of the heap in bytes without what is free, and what
// pools have in reserve for one collection more.
func settled() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Bound fails if f allocates more than Floor and so many bytes.
func Bound(t *testing.T, limit int64, f func()) {
	t.Helper()
	if n := Allocated(f); n > Floor+limit {
		t.Errorf("%d bytes allocated, of at most %d", n, Floor+limit)
	}
}

// BoundSmall is Bound for parsers without buffers of their own, which take no
// more than 256 KiB and factor bytes for each of the n bytes that they are given.
func BoundSmall(t *testing.T, n, factor int, f func()) {
	t.Helper()
	if got, limit := Allocated(f), int64(256<<10+n*factor); got > limit {
		t.Errorf("%d bytes allocated for %d, of at most %d", got, n, limit)
	}
}
