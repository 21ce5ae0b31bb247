package layer

import (
	"context"
	"errors"

	"github.com/ladle-dev/ladle/metrics"
)

// Errors of Open, for errors.Is. Errors of registries are those of package fetch.
var (
	// ErrNotLazy: the format of the blob cannot be read lazily.
	ErrNotLazy = errors.New("not lazily readable")

	// ErrUnverified: the files of the layer cannot be verified against its image: the
	// image has no digest for the layer's TOC, or another one.
	ErrUnverified = errors.New("not verified")

	// ErrInvalid: the index breaks the rules of its format; or a layer that was to be
	// imported is no tar, or not the blob that was asked for.
	ErrInvalid = errors.New("invalid index")
)

// ErrTimeout is the error of a read that took longer than Options.ReadTimeout. It matches
// context.DeadlineExceeded.
var ErrTimeout error = timeout{}

type timeout struct{}

func (timeout) Error() string { return "no bytes within the read timeout" }

func (timeout) Is(target error) bool { return target == context.DeadlineExceeded }

// outcome returns the metric of a failed attempt to open a layer.
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
