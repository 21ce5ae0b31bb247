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

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/tree"
)

// export is the content of the FUSE mount: the data files of all layers in use, and the
// trees of the fuse driver.
type export struct {
	lifetime context.Context // after its end, reads fail
	// restoring ends when, after a takeover, requests for layers and trees that are
	// not mounted again fail instead of waiting.
	restoring context.Context
	disk      string // a path on the filesystem that STATFS reports
	counts    *metrics.Requests
	failures  failures
	late      *late
	notMapped bool // Options.notMapped

	mu struct {
		sync.RWMutex
		data  map[uint32]*dataFile
		trees map[uint32]*servedTree
		added chan struct{} // closed and replaced when a layer or tree is added
	}
}

// dataFile is a layer with its data file on the export. See "Lifetimes" in the package
// documentation.
type dataFile struct {
	layer Layer
	// trees is the number of trees over the layer. opens is the number of OPENs
	// without a RELEASE that this process has answered. Guarded by export.mu.
	trees, opens int
	// reads is the number of READs in progress. It is increased with export.mu
	// read-locked, so that drop does not miss one.
	reads atomic.Int64
}

// unused reports whether the layer can be closed. It requires export.mu.
func (d *dataFile) unused() bool { return d.trees == 0 && d.opens == 0 && d.reads.Load() == 0 }

func newExport(lifetime context.Context, opts Options) *export {
	e := &export{lifetime: lifetime, disk: opts.Root, counts: opts.Requests, late: newLate(), notMapped: opts.notMapped}
	e.restoring = ended(lifetime)
	if opts.Takeover != nil {
		var end context.CancelFunc
		e.restoring, end = context.WithTimeout(lifetime, restoreWait)
		context.AfterFunc(e.restoring, end)
	}
	e.mu.data = map[uint32]*dataFile{}
	e.mu.trees = map[uint32]*servedTree{}
	e.mu.added = make(chan struct{})
	return e
}

func ended(ctx context.Context) context.Context {
	ctx, end := context.WithCancel(ctx)
	end()
	return ctx
}

// exportedSize is the size in bytes of a layer's data file on the export: whole blocks,
// and at least one, because a loop device ignores the remainder of a block and cannot be
// empty.
func exportedSize(l Layer) int64 {
	blocks := (l.DataSize() + tree.BlockSize - 1) / tree.BlockSize
	return max(blocks, 1) * tree.BlockSize
}

// addLayers exports layers for a tree. It takes ownership of layers, also if it fails.
func (e *export) addLayers(layers []Layer) error {
	for i, l := range layers {
		if l.Number() > maxNumber {
			err := fmt.Errorf("layer number %d is too large", l.Number())
			return errors.Join(err, e.dropLayers(layers[:i]), closeLayers(layers[i:]))
		}
		if !e.addLayer(l) {
			if err := l.Close(); err != nil { // the export has a reference already
				return errors.Join(err, e.dropLayers(layers[:i+1]), closeLayers(layers[i+1:]))
			}
		}
	}
	return nil
}

// addLayer reports whether l was not exported before.
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

// dropLayers reverts one addLayers.
func (e *export) dropLayers(layers []Layer) error {
	var errs []error
	for _, l := range layers {
		errs = append(errs, e.drop(uint32(l.Number()), func(file *dataFile) { file.trees-- }))
	}
	return errors.Join(errs...)
}

// drop applies release, which lowers a count of a data file, and closes the layer when
// all counts are zero.
func (e *export) drop(number uint32, release func(*dataFile)) error {
	e.mu.Lock()
	file := e.mu.data[number]
	unused := false
	if file != nil {
		release(file)
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

// data returns the data file of a layer, or nil if the layer is not exported.
func (e *export) data(ctx context.Context, number uint32) *dataFile {
	return findOrWait(ctx, e, func() *dataFile { return e.mu.data[number] })
}

// beginRead is data with a count in reads, so that the layer remains open until endRead.
func (e *export) beginRead(ctx context.Context, number uint32) *dataFile {
	return findOrWait(ctx, e, func() *dataFile {
		file := e.mu.data[number]
		if file != nil {
			file.reads.Add(1)
		}
		return file
	})
}

// endRead reverts beginRead, and closes the layer if this was its last use.
func (e *export) endRead(number uint32, file *dataFile) {
	if file.reads.Add(-1) > 0 {
		return
	}
	e.mu.RLock()
	unused := file.unused()
	e.mu.RUnlock()
	if unused {
		e.logClose(number, e.drop(number, func(*dataFile) {}))
	}
}

// logClose logs an error of closing a layer after a FUSE request, which cannot return it.
func (e *export) logClose(number uint32, err error) {
	if err != nil {
		log.G(e.lifetime).WithError(err).WithField("layer", number).Warn("closing a layer of the FUSE export failed")
	}
}

// opened counts an OPEN of a data file, and returns false if the layer is not exported.
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

// released counts a RELEASE of a data file. The OPEN may have been answered before a
// takeover.
func (e *export) released(number uint32) {
	e.logClose(number, e.drop(number, func(file *dataFile) { file.opens = max(file.opens-1, 0) }))
}

// close closes all layers that the kernel still has open or that trees exist of; a layer
// with READs in progress is closed after these.
func (e *export) close() error {
	e.mu.Lock()
	numbers := slices.Collect(maps.Keys(e.mu.data))
	e.mu.trees = map[uint32]*servedTree{}
	e.mu.Unlock()
	var errs []error
	for _, number := range numbers {
		errs = append(errs, e.drop(number, func(file *dataFile) { file.trees, file.opens = 0, 0 }))
	}
	return errors.Join(errs...)
}
