package fs

import (
	"context"
	"path/filepath"
	"sync"
)

// Whole is a Layer that can have a data file to read without this process; *layer.Layer
// implements it.
type Whole interface {
	// DataFile returns the path of the layer's data file if all of its bytes are in it,
	// and stay so for as long as anything has the file open. It has DataSize bytes. It
	// returns in bounded time.
	DataFile(ctx context.Context) (path string, ok bool)
}

// maxDevicePath is in bytes: fsconfig(2), FSCONFIG_SET_STRING.
const maxDevicePath = 255

// wholeFiles returns the path of the data file of each layer that can be read without this
// process, and "" for the others. It asks all layers at the same time.
//
// A data file of another size than its file on the export is not used: a loop device has whole
// sectors, and is not empty.
func wholeFiles(ctx context.Context, layers []Layer) []string {
	files := make([]string, len(layers))
	var asked sync.WaitGroup
	for i, l := range layers {
		whole, ok := l.(Whole)
		if !ok || l.DataSize() != exportedSize(l) {
			continue
		}
		asked.Go(func() {
			if path, ok := whole.DataFile(ctx); ok && len(path) <= maxDevicePath {
				files[i] = path
			}
		})
	}
	asked.Wait()
	return files
}

// device returns the path of the i-th device of p: the data file of a layer that is whole, or
// its file on the export at dir.
func (p *plan) device(i int, dir string) string {
	if len(p.whole) > 0 && p.whole[i] != "" {
		return p.whole[i]
	}
	return filepath.Join(dir, dataName(p.layers[i]))
}
