package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/tree"
)

// export is what the FUSE mount shows: the data files of all layers in use,
// and the trees of the fuse driver.
type export struct {
	lifetime context.Context // ends when reads shall fail
	disk     string          // a path on the filesystem that statfs tells of
	counts   counts
	failures failures

	mu struct {
		sync.RWMutex
		data  map[uint32]*dataFile
		trees map[uint32]*inodes
	}
}

// dataFile is a layer that the kernel can see.
type dataFile struct {
	layer Layer
	// users counts the trees over the layer and the times that the kernel
	// has the file open: a tree that is unmounted may live on below an
	// overlay. Guarded by export.mu.
	users int
}

func newExport(lifetime context.Context, disk string, requests *metrics.Requests) *export {
	e := &export{lifetime: lifetime, disk: disk, counts: newCounts(requests)}
	e.mu.data = map[uint32]*dataFile{}
	e.mu.trees = map[uint32]*inodes{}
	return e
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
		file.users++
		return false
	}
	e.mu.data[number] = &dataFile{layer: l, users: 1}
	return true
}

// dropLayers undoes one addLayers.
func (e *export) dropLayers(layers []Layer) error {
	var errs []error
	for _, l := range layers {
		errs = append(errs, e.dropData(uint32(l.Number())))
	}
	return errors.Join(errs...)
}

// dropData takes a user from a data file and closes its layer after the last.
func (e *export) dropData(number uint32) error {
	e.mu.Lock()
	file := e.mu.data[number]
	last := false
	if file != nil {
		file.users--
		last = file.users == 0
	}
	if last {
		delete(e.mu.data, number)
	}
	e.mu.Unlock()
	if !last {
		return nil
	}
	return file.layer.Close()
}

// data returns nil if the layer is not exported.
func (e *export) data(number uint32) *dataFile {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mu.data[number]
}

// opened notes that the kernel opened a data file, if it is there.
func (e *export) opened(number uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	file := e.mu.data[number]
	if file == nil {
		return false
	}
	file.users++
	return true
}

// released notes that the kernel closed a data file.
func (e *export) released(number uint32) {
	if err := e.dropData(number); err != nil {
		log.G(e.lifetime).WithError(err).WithField("layer", number).Warn("layer not closed")
	}
}

func (e *export) addTree(t *inodes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.trees[t.number] = t
}

func (e *export) dropTree(number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.mu.trees, number)
}

// tree returns nil if there is no such tree.
func (e *export) tree(number uint32) *inodes {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mu.trees[number]
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
