package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"

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

	mu struct {
		sync.RWMutex
		data  map[uint32]*dataFile
		trees map[uint32]*inodes
		added chan struct{} // closed, and another made, when there is more
	}
}

// dataFile is a layer that the kernel can see.
type dataFile struct {
	layer Layer
	// trees over the layer, and times that the kernel has opened the file
	// in our time: a tree that is unmounted may live on below an overlay.
	// Guarded by export.mu; one of them is above zero.
	trees, opens int
}

func newExport(lifetime context.Context, opts Options) *export {
	e := &export{lifetime: lifetime, disk: opts.Root, counts: newCounts(opts.Requests)}
	e.restoring = ended(lifetime)
	if opts.Takeover != nil {
		var end context.CancelFunc
		e.restoring, end = context.WithTimeout(lifetime, restoreWait)
		context.AfterFunc(e.restoring, end)
	}
	e.mu.data = map[uint32]*dataFile{}
	e.mu.trees = map[uint32]*inodes{}
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
		unused = file.trees == 0 && file.opens == 0
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
	err := e.drop(number, func(file *dataFile) { file.opens = max(file.opens-1, 0) })
	if err != nil {
		log.G(e.lifetime).WithError(err).WithField("layer", number).Warn("layer not closed")
	}
}

func (e *export) addTree(t *inodes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.trees[t.number] = t
	e.addedLocked()
}

func (e *export) dropTree(number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.mu.trees, number)
}

// tree returns nil if there is no such tree.
func (e *export) tree(ctx context.Context, number uint32) *inodes {
	return soon(ctx, e, func() *inodes { return e.mu.trees[number] })
}

// close closes the layers that are left: those of data files that something
// still has open.
func (e *export) close() error {
	e.mu.Lock()
	left := e.mu.data
	e.mu.data = map[uint32]*dataFile{}
	e.mu.trees = map[uint32]*inodes{}
	e.mu.Unlock()
	var errs []error
	for _, file := range left {
		errs = append(errs, file.layer.Close())
	}
	return errors.Join(errs...)
}
