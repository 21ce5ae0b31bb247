package layer

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/store"
)

// diskState is the state of the filesystem of the store: which fetched chunks are written
// to it. The others are cached in memory: see caches.
//
//	from             event                                     to
//	free             less than the reserve is free             low
//	low              an eighth more than the reserve is free   free
//	free, low        a chunk could not be written              full
//	full             no such chunk for stateLifetime           free or low
//	free, low, full  written chunks were lost                  lossy
//	lossy            no such loss for stateLifetime            full, low or free
type diskState int

const (
	// diskFree: all chunks are written, including those that are fetched ahead.
	diskFree diskState = iota
	// diskLow: less than the reserve is free. Only chunks that a reader requested are
	// written. Other chunks of the same run are cached, and written if a reader
	// requests them meanwhile. Nothing is fetched ahead.
	diskLow
	// diskFull: a chunk could not be written within stateLifetime. Newly fetched
	// chunks that a reader requested are tried to be written, cached ones are not.
	// Nothing is fetched ahead.
	diskFull
	// diskLossy: written chunks turned out to be lost within stateLifetime. No chunk is
	// written. Nothing is fetched ahead.
	diskLossy
)

// stateLifetime is the time after the last event that made the disk full or lossy at
// which it is so no more, and at which the chunks in memory are dropped.
const stateLifetime = 5 * time.Second

// takesAhead reports whether chunks are fetched ahead, and written, that no reader
// requested.
func (s diskState) takesAhead() bool { return s == diskFree }

// takesRequested reports whether newly fetched chunks are written that a reader requested.
func (s diskState) takesRequested() bool { return s != diskLossy }

// disk follows the state of the filesystem of a store, and logs its changes.
type disk struct {
	ctx   context.Context // for logging
	store *store.Store
	mu    struct {
		sync.Mutex
		low  bool      // whether less than the reserve was free at the last look
		full time.Time // when a chunk could not be written last
		lost time.Time // when written chunks turned out to be lost last
	}
}

// state returns the present state.
func (d *disk) state() diskState {
	low := d.store.IsLow()
	d.mu.Lock()
	changed := d.mu.low != low
	d.mu.low = low
	state := d.stateLocked()
	d.mu.Unlock()
	if changed {
		d.logSpace(low)
	}
	if changed && low {
		d.store.SweepPartials(d.ctx)
	}
	return state
}

func (d *disk) stateLocked() diskState {
	switch {
	case time.Since(d.mu.lost) < stateLifetime:
		return diskLossy
	case time.Since(d.mu.full) < stateLifetime:
		return diskFull
	case d.mu.low:
		return diskLow
	}
	return diskFree
}

// recordRefusal makes the disk full: a chunk could not be written because of err.
func (d *disk) recordRefusal(err error) {
	if d.record(diskFull) {
		log.G(d.ctx).WithError(err).Warn("disk refuses chunks: they are cached in memory for a few seconds")
	}
}

// recordLoss makes the disk lossy: written chunks are lost, which err says.
func (d *disk) recordLoss(err error) {
	if d.record(diskLossy) {
		log.G(d.ctx).WithError(err).Warn("disk lost chunks: new chunks are cached in memory for a few seconds")
	}
}

// record makes the disk full or lossy for stateLifetime. It reports whether it was in a
// better state before.
func (d *disk) record(state diskState) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.stateLocked() < state
	if state == diskLossy {
		d.mu.lost = time.Now()
	} else {
		d.mu.full = time.Now()
	}
	return changed
}

func (d *disk) logSpace(low bool) {
	space, err := d.store.Space()
	logger := log.G(d.ctx).WithField("free", space.Free).WithField("reserve", space.Reserve)
	switch {
	case err != nil:
	case low:
		logger.Warn("free disk space is below the reserve: prefetch and background fetch are paused")
	default:
		logger.Info("free disk space is above the reserve: prefetch and background fetch continue")
	}
}
