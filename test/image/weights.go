package image

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
)

// WeightsPath is the file of a Weights image.
const WeightsPath = "weights"

// Weights is an image with busybox, and above it a layer with one file of size bytes, as of a
// model. No two blocks of it are equal, and none is zeros.
func Weights(size int64) Recipe {
	return Recipe{
		Name: fmt.Sprintf("weights-%dm", size>>20), About: fmt.Sprintf("one file of %d MiB", size>>20), Version: 1, Config: busyboxConfig,
		Layers: func(Env) ([]Layer, error) {
			return layersWithBusybox(func(w *tar.Writer) error {
				return putFrom(w, reg(WeightsPath, 0o644, size), &blocks{})
			})
		},
	}
}

// blocks is an endless reader of blocks of 4 KiB that begin with their numbers.
type blocks struct {
	block [4096]byte
	read  int64
}

func (b *blocks) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		at := int(b.read % int64(len(b.block)))
		if at == 0 {
			binary.LittleEndian.PutUint64(b.block[:], uint64(b.read)+1)
		}
		m := copy(p[n:], b.block[at:])
		n, b.read = n+m, b.read+int64(m)
	}
	return len(p), nil
}
