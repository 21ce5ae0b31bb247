package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/tree"
)

// export is what the FUSE mount shows: the data files of all layers in use,
// and the trees of the fuse driver.
type export struct {
	lifetime context.Context // ends when reads shall fail
	// restoring lasts while, after a takeover, what the kernel asks for
	// may be mounted again.
	restoring context.Context
	disk      string // a path on the filesystem that statfs tells of
	counts    counts
	failures  failures
	late      *late

	mu struct {
		sync.RWMutex
		data  map[uint32]*dataFile
		trees map[uint32]*served
		added chan struct{} // closed, and another made, when there is more
	}
}

// dataFile is a layer that the kernel can see.
type dataFile struct {
	layer Layer
	// trees over the layer, and times that the kernel has opened the file
	// in our time: a tree that is unmounted may live on below an overlay.
	// Guarded by export.mu.
	trees, opens int
	// reads are under way. It is added to with export.mu held. The layer is
	// closed when this and the others have come to zero.
	reads atomic.Int64
}

// unused needs export.mu.
func (d *dataFile) unused() bool { return d.trees == 0 && d.opens == 0 && d.reads.Load() == 0 }

func newExport(lifetime context.Context, opts Options) *export {
	e := &export{lifetime: lifetime, disk: opts.Root, counts: newCounts(opts.Requests), late: newLate()}
	e.restoring = ended(lifetime)
	if opts.Takeover != nil {
		var end context.CancelFunc
		e.restoring, end = context.WithTimeout(lifetime, restoreWait)
		context.AfterFunc(e.restoring, end)
	}
	e.mu.data = map[uint32]*dataFile{}
	e.mu.trees = map[uint32]*served{}
	e.mu.added = make(chan struct{})
	return e
}

func ended(ctx context.Context) context.Context {
	ctx, end := context.WithCancel(ctx)
	end()
	return ctx
}

// exportedSize is the size in bytes of a layer's data file as the export
// shows it: whole blocks, and at least one, because a loop device cuts off
// what is less than a block and there is none of no size.
func exportedSize(l Layer) int64 {
	blocks := (l.DataSize() + tree.BlockSize - 1) / tree.BlockSize
	return max(blocks, 1) * tree.BlockSize
}

// addLayers lets trees over layers be mounted. The layers are the export's
// from then on, also if it fails.
func (e *export) addLayers(layers []Layer) error {
	for i, l := range layers {
		if l.Number() > maxNumber {
			err := fmt.Errorf("layer number %d is too large", l.Number())
			return errors.Join(err, e.dropLayers(layers[:i]), closeLayers(layers[i:]))
		}
		if !e.addLayer(l) {
			if err := l.Close(); err != nil { // a second reference is not needed
				return errors.Join(err, e.dropLayers(layers[:i+1]), closeLayers(layers[i+1:]))
			}
		}
	}
	return nil
}

// addLayer reports whether l was not there before.
func (e *export) addLayer(l Layer) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	number := uint32(l.Number())
	if file := e.mu.data[number]; file != nil {
		file.trees++
		return false
	}
	e.mu.data[number] = &dataFile{layer: l, trees: 1}
	e.addedLocked()
	return true
}

func (e *export) addedLocked() {
	close(e.mu.added)
	e.mu.added = make(chan struct{})
}

// dropLayers undoes one addLayers.
func (e *export) dropLayers(layers []Layer) error {
	var errs []error
	for _, l := range layers {
		errs = append(errs, e.drop(uint32(l.Number()), func(file *dataFile) { file.trees-- }))
	}
	return errors.Join(errs...)
}

// drop lets less take something from a data file and closes its layer if
// nothing is left.
func (e *export) drop(number uint32, less func(*dataFile)) error {
	e.mu.Lock()
	file := e.mu.data[number]
	unused := false
	if file != nil {
		less(file)
		unused = file.unused()
	}
	if unused {
		delete(e.mu.data, number)
	}
	e.mu.Unlock()
	if !unused {
		return nil
	}
	return file.layer.Close()
}

// data returns nil if the layer is not exported.
func (e *export) data(ctx context.Context, number uint32) *dataFile {
	return soon(ctx, e, func() *dataFile { return e.mu.data[number] })
}

// hold is data for a read: the layer stays open until letGo.
func (e *export) hold(ctx context.Context, number uint32) *dataFile {
	return soon(ctx, e, func() *dataFile {
		file := e.mu.data[number]
		if file != nil {
			file.reads.Add(1)
		}
		return file
	})
}

// letGo ends what hold began. Nothing may be left of the layer but this read.
func (e *export) letGo(number uint32, file *dataFile) {
	if file.reads.Add(-1) > 0 {
		return
	}
	e.mu.RLock()
	unused := file.unused()
	e.mu.RUnlock()
	if unused {
		e.closed(number, e.drop(number, func(*dataFile) {}))
	}
}

// closed logs that the layer could not be closed by those who used it last:
// requests of the kernel, which cannot be told.
func (e *export) closed(number uint32, err error) {
	if err != nil {
		log.G(e.lifetime).WithError(err).WithField("layer", number).Warn("layer not closed")
	}
}

// opened notes that the kernel opened a data file, if it is there.
func (e *export) opened(number uint32) bool {
	if e.data(e.lifetime, number) == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	file := e.mu.data[number]
	if file == nil {
		return false
	}
	file.opens++
	return true
}

// released notes that the kernel closed a data file, which may be one that was
// opened before a takeover.
func (e *export) released(number uint32) {
	e.closed(number, e.drop(number, func(file *dataFile) { file.opens = max(file.opens-1, 0) }))
}

// close closes the layers that are left: those that something still has open,
// or has a tree of. One that is still read is closed after that.
func (e *export) close() error {
	e.mu.Lock()
	numbers := slices.Collect(maps.Keys(e.mu.data))
	e.mu.trees = map[uint32]*served{}
	e.mu.Unlock()
	var errs []error
	for _, number := range numbers {
		errs = append(errs, e.drop(number, func(file *dataFile) { file.trees, file.opens = 0, 0 }))
	}
	return errors.Join(errs...)
}
