package layer

import (
	"context"

	"golang.org/x/sync/semaphore"
)

const (
	// chunkMemory is the default of Options.ChunkMemory: twice the maximum size of a
	// chunk.
	chunkMemory = 128 << 20

	// blockMemory bounds the bytes of blocks that wait to be decompressed, in
	// addition to the reserved blocks of parts.
	blockMemory = 16 << 20

	// maxRunsAhead bounds the runs in progress that no reader waits for. Each needs
	// a connection, and up to 1.5 MB of buffers.
	maxRunsAhead = 64

	// parseMemory bounds the bytes of memory for tables of contents that are parsed
	// concurrently, by the estimate of index.Memory. It is the maximum for one.
	parseMemory = 1 << 30
)

// budget bounds the memory of work in progress over all layers.
//
// INVARIANT: no wait is circular. The goroutine of a part acquires memory once for each
// stream, has none while it waits for it, and then needs only the bytes of the part.
// These arrive in order, so that each part of a run but the last has all of its bytes,
// and each part has reserved blocks.
//
// A reader waits only for other readers. Runs without a waiting reader use a budget of
// their own, and switch to that of readers when a reader joins.
type budget struct {
	half    int64               // bytes of readers; and of ahead
	readers *semaphore.Weighted // bytes of chunks and decompressors
	ahead   *semaphore.Weighted // the same, of runs without a waiting reader
	runs    *semaphore.Weighted // number of these runs
	blocks  *semaphore.Weighted // blocks that are not reserved for a part
	parsing *semaphore.Weighted // bytes of indexes that are being parsed
}

func newBudget(chunks int64) *budget {
	half := max(1, chunks/2)
	return &budget{
		half:    half,
		readers: semaphore.NewWeighted(half),
		ahead:   semaphore.NewWeighted(half),
		runs:    semaphore.NewWeighted(maxRunsAhead),
		blocks:  semaphore.NewWeighted(blockMemory / blockSize),
		parsing: semaphore.NewWeighted(parseMemory),
	}
}

// lease is an amount acquired from a semaphore; the zero lease is empty.
type lease struct {
	of *semaphore.Weighted
	n  int64
}

func (l lease) release() {
	if l.of != nil {
		l.of.Release(l.n)
	}
}

// start waits until r may start: immediately if a reader waits for it.
func (b *budget) start(ctx context.Context, r *run) (lease, error) {
	if b.runs.Acquire(r.speculative, 1) == nil {
		return lease{b.runs, 1}, nil
	}
	return lease{}, context.Cause(ctx)
}

// unpack acquires n bytes of memory to decompress a stream of r. A request for more than
// half is granted when nothing else is in use.
func (b *budget) unpack(ctx context.Context, r *run, n int64) (lease, error) {
	n = min(n, b.half)
	if b.ahead.Acquire(r.speculative, n) == nil {
		return lease{b.ahead, n}, nil
	}
	return b.read(ctx, n)
}

// read acquires n bytes of memory for a reader.
func (b *budget) read(ctx context.Context, n int64) (lease, error) {
	n = min(n, b.half)
	if b.readers.Acquire(ctx, n) != nil {
		return lease{}, context.Cause(ctx)
	}
	return lease{b.readers, n}, nil
}

// parse acquires n bytes of memory to parse an index.
func (b *budget) parse(ctx context.Context, n int64) (lease, error) {
	n = min(n, parseMemory)
	if b.parsing.Acquire(ctx, n) != nil {
		return lease{}, context.Cause(ctx)
	}
	return lease{b.parsing, n}, nil
}
