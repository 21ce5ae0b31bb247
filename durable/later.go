package durable

import (
	"errors"
	"fmt"
)

// ErrLaterFormat says that a later version of Ladle wrote a file. Whoever finds it leaves
// the file as it is.
var ErrLaterFormat = errors.New("a later version of ladle wrote it")

// LaterFormat returns the ErrLaterFormat of a file with the format found, where formats up
// to known can be read.
func LaterFormat(found, known uint64) error {
	return fmt.Errorf("%w: format %d, and this version reads %d", ErrLaterFormat, found, known)
}
