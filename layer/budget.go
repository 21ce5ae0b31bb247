package layer

import (
	"context"

	"golang.org/x/sync/semaphore"
)

const (
	// chunkMemory is the default of Options.ChunkMemory: two of the largest
	// chunks that there are.
	chunkMemory = 128 << 20

	// blockMemory is how many bytes of blocks may wait to be unpacked, those
	// that parts have of their own not counted.
	blockMemory = 16 << 20

	// maxRunsAhead is how many runs for which no reader waits are under way at
	// once. Each takes a connection, and up to 1.5 MB of buffers.
	maxRunsAhead = 64

	// parseMemory is how many bytes of memory tables of contents may take that
	// are parsed at once, by what each may take: see index.Memory. It is what a
	// single one may take.
	parseMemory = 1 << 30
)

// budget bounds the memory of what is under way, over all layers.
//
// Nothing waits in a circle: what unpacks a part takes memory once for each
// stream, has no other while it waits for it, and while it has it needs only the
// part's own bytes. Those come in order, so that all parts but the last one of a
// run have theirs, and each part has blocks that nobody else takes.
//
// A reader waits for other readers only. Runs for which none waits have memory
// apart, and go over to that of readers when one joins.
type budget struct {
	half    int64               // bytes, of readers and ahead each
	readers *semaphore.Weighted // bytes of chunks and decompressors
	ahead   *semaphore.Weighted // the same, of runs for which no reader waits
	runs    *semaphore.Weighted // such runs
	blocks  *semaphore.Weighted // blocks that are not a part's own
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

// lease is what was taken from a budget; the zero lease is nothing.
type lease struct {
	of *semaphore.Weighted
	n  int64
}

func (l lease) release() {
	if l.of != nil {
		l.of.Release(l.n)
	}
}

// start waits until r may start: at once if a reader waits for it.
func (b *budget) start(ctx context.Context, r *run) (lease, error) {
	if b.runs.Acquire(r.unwanted, 1) == nil {
		return lease{b.runs, 1}, nil
	}
	return lease{}, context.Cause(ctx)
}

// unpack waits for n bytes of memory to unpack a stream of r. More than there is
// are given to one alone.
func (b *budget) unpack(ctx context.Context, r *run, n int64) (lease, error) {
	n = min(n, b.half)
	if b.ahead.Acquire(r.unwanted, n) == nil {
		return lease{b.ahead, n}, nil
	}
	return b.read(ctx, n)
}

// read waits for n bytes of memory for a reader.
func (b *budget) read(ctx context.Context, n int64) (lease, error) {
	n = min(n, b.half)
	if b.readers.Acquire(ctx, n) != nil {
		return lease{}, context.Cause(ctx)
	}
	return lease{b.readers, n}, nil
}

// parse waits for n bytes of memory for an index.
func (b *budget) parse(ctx context.Context, n int64) (lease, error) {
	n = min(n, parseMemory)
	if b.parsing.Acquire(ctx, n) != nil {
		return lease{}, context.Cause(ctx)
	}
	return lease{b.parsing, n}, nil
}
