package metastore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/durable"
)

// damagedSuffix is added to the name of a damaged file that is moved aside. It replaces the
// one that was moved aside before.
const damagedSuffix = ".damaged"

// logChoice logs which file was damaged and which one is used.
func (s *Store) logChoice(ctx context.Context, from source, f files, moved []string) {
	fields := log.Fields{"endpoint": filepath.Base(s.dir)}
	message := ""
	switch {
	case from == fromSaved:
		message, fields["reason"] = "metadata of snapshots is as it was last saved", f.wrongDB()
	case from == fromNothing && f.db.is == damaged:
		message, fields["reason"] = "metadata of snapshots is made anew: it is damaged, and there are no snapshots", f.db.why
	case from == fromDB && f.saved.is == damaged:
		message, fields["reason"] = "the saved copy of the metadata of snapshots is damaged, and is made anew", f.saved.why
	case from == fromDB && f.db.info.Torn:
		message = "a header of the metadata of snapshots is damaged: the last transaction may be missing"
	case f.state == stateDamaged:
		message = "the state file of the metadata of snapshots is damaged, and is made anew"
	default:
		return
	}
	if len(moved) > 0 {
		fields["moved"] = strings.Join(moved, damagedSuffix+", ") + damagedSuffix
	}
	log.G(ctx).WithFields(fields).Warn(message)
}

// moveAside renames a damaged file, or a directory in its place.
func (s *Store) moveAside(name string) error {
	to := s.path(name) + damagedSuffix
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.Rename(s.path(name), to); err != nil {
		return err
	}
	return durable.SyncDir(s.dir)
}

// removeMoved removes the files that moveAside has renamed, and reports whether there were
// any.
func (s *Store) removeMoved() (removed bool, err error) {
	for _, name := range []string{DBFile, SavedFile, StateFile} {
		_, statErr := os.Lstat(s.path(name) + damagedSuffix)
		removed = removed || statErr == nil
		err = errors.Join(err, os.RemoveAll(s.path(name)+damagedSuffix))
	}
	return removed, err
}

// removeOddStandbys removes standbys that are not regular files.
func (s *Store) removeOddStandbys() error {
	for _, name := range []string{SavedFile, StateFile} {
		standby := s.path(name) + durable.Suffix
		info, err := os.Lstat(standby)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			if err := os.RemoveAll(standby); err != nil {
				return err
			}
		}
	}
	return nil
}
