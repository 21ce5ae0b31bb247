package snapshot

import (
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/durable"
)

// classifyFull turns an error that comes from a full disk into ErrResourceExhausted, and
// into no other class of errdefs.
func classifyFull(err *error) {
	if durable.NoSpace(*err) {
		*err = fmt.Errorf("%w: %s", errdefs.ErrResourceExhausted, *err)
	}
}
