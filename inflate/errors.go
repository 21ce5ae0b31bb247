package inflate

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt is the error of bytes that are not what a compressor writes.
	ErrCorrupt = errors.New("inflate: corrupt")
	// ErrHeader is ErrCorrupt for the header of a gzip member.
	ErrHeader = fmt.Errorf("%w: header", ErrCorrupt)
	// ErrChecksum is ErrCorrupt for a CRC32 or a length that is not that of the bytes.
	ErrChecksum = fmt.Errorf("%w: checksum", ErrCorrupt)
)

// corrupt returns ErrCorrupt with what is wrong and where.
func (in *input) corrupt(what string) error {
	return fmt.Errorf("%w: %s, before byte %d", ErrCorrupt, what, in.byteOffset())
}
