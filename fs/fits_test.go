package fs

import (
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// What the daemon is wired from.
var (
	_ Images = (*store.Store)(nil)
	_        = LayersOf((*layer.Set)(nil))
)
