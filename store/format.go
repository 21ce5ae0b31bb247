package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/durable"
)

// formatVersion is the version of all that the store has on disk: its layout, each
// meta.json and the files beside it. The file formatFile and each meta.json have it. A
// change that code of the version before would read wrongly, or take for damage, raises
// it.
const formatVersion = 1

// formatFile is a file in the store's root directory. A store without this file is of
// version 1: early stores of that version have none.
const formatFile = "format"

// ErrLaterFormat is returned for a store, or a part of it, that a later version of this
// code wrote. Nothing of it is changed or removed.
var ErrLaterFormat = durable.ErrLaterFormat

// checkFormat returns ErrLaterFormat for a store of a later version, and otherwise
// sees to it that an earlier version of this code finds out that it is one. A damaged
// file is written anew: each meta.json has the version, too.
func (s *Store) checkFormat(ctx context.Context) error {
	path := filepath.Join(s.root, formatFile)
	version, err := readNumber(path)
	switch {
	case err == nil && version == formatVersion:
		return nil
	case err == nil && version > formatVersion:
		return durable.LaterFormat(version, formatVersion)
	case errors.Is(err, fs.ErrNotExist):
	case err == nil:
		err = fmt.Errorf("%s: %w: version %d", formatFile, errDamaged, version)
		fallthrough
	case isDamage(err):
		log.G(ctx).WithError(err).Warn("store: the file with the version of the format is written anew")
	default:
		return err
	}
	if err := writeNumber(path, formatVersion); !durable.NoSpace(err) {
		return err
	}
	return nil // without the file it is of version 1, which it is
}

// checkVersion checks the version that a meta.json has. An earlier one than this is
// damage, as there is none before 1.
func checkVersion(version int) error {
	if version > formatVersion {
		return fmt.Errorf("%s: %w", metaFile, durable.LaterFormat(uint64(version), formatVersion))
	}
	if version < formatVersion {
		return fmt.Errorf("%s: %w: version %d", metaFile, errDamaged, version)
	}
	return nil
}
