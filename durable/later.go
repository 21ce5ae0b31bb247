package durable

import (
	"errors"
	"fmt"
)

// ErrLaterFormat is the error of a file that a later version of Ladle wrote. The file must
// not be changed or removed then.
var ErrLaterFormat = errors.New("a later version of ladle wrote it")

// LaterFormat returns the ErrLaterFormat of a file with the format found, where formats up
// to known can be read.
func LaterFormat(found, known uint64) error {
	return fmt.Errorf("%w: format %d, and this version reads %d", ErrLaterFormat, found, known)
}
