package convert

import (
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// Stage is a stage of the work on a layer.
type Stage string

// The stages, in their order. Layers that are copied are only written.
const (
	Fetching    Stage = "fetching"
	Compressing Stage = "compressing"
	Writing     Stage = "writing"
)

// Progress is told of the work. Its methods may be called concurrently, and return soon.
type Progress interface {
	// Began is told the blobs of all layers, before any other call.
	Began(layers []digest.Digest)

	// Advanced is told how many bytes of a stage of a layer are done, of how many.
	Advanced(layer digest.Digest, s Stage, done, of int64)

	// Finished is told what became of a layer.
	Finished(Layer)
}

// silent is the Progress of somebody who does not look.
type silent struct{}

func (silent) Began([]digest.Digest)                       {}
func (silent) Advanced(digest.Digest, Stage, int64, int64) {}
func (silent) Finished(Layer)                              {}

// counter returns a function that adds numbers of bytes to a stage of a layer. It may be
// called concurrently.
func (c *conversion) counter(layer digest.Digest, s Stage, of int64) func(int) {
	var done atomic.Int64
	return func(n int) { c.opts.Progress.Advanced(layer, s, done.Add(int64(n)), of) }
}
