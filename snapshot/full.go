package snapshot

import (
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/durable"
)

// tellFull makes an error that comes from a full disk ErrResourceExhausted and no
// other of errdefs, so that clients learn why they cannot be served.
func tellFull(err *error) {
	if durable.NoSpace(*err) {
		*err = fmt.Errorf("%w: %s", errdefs.ErrResourceExhausted, *err)
	}
}
