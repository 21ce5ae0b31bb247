package layer

import (
	"context"
	"errors"

	"github.com/ladle-dev/ladle/metrics"
)

// Why a layer cannot be opened, for errors.Is. What the registry had to do with
// it is one of the errors of package fetch.
var (
	// ErrNotLazy: the blob is in no format that can be read lazily.
	ErrNotLazy = errors.New("not lazily readable")

	// ErrUnverified: nothing ties the files that the layer shows to the image
	// that names it. The image has no digest for its TOC, or another one.
	ErrUnverified = errors.New("not verified")

	// ErrInvalid: the index breaks the rules of its format.
	ErrInvalid = errors.New("invalid index")
)

// ErrTimeout is returned to a reader whose bytes did not come in time. It matches
// context.DeadlineExceeded.
var ErrTimeout error = timeout{}

type timeout struct{}

func (timeout) Error() string { return "no bytes within the read timeout" }

func (timeout) Is(target error) bool { return target == context.DeadlineExceeded }

// outcome returns how an attempt to open a layer is counted that failed.
func outcome(err error) metrics.Opened {
	switch {
	case errors.Is(err, ErrNotLazy):
		return metrics.OpenedNotLazy
	case errors.Is(err, ErrUnverified):
		return metrics.OpenedUnverified
	case errors.Is(err, ErrInvalid):
		return metrics.OpenedInvalid
	}
	return metrics.OpenedError
}
