package metastore

import (
	"context"
	"errors"
	"fmt"

	"github.com/ladle-dev/ladle/durable"
)

// ErrDamaged is the error of metadata from which the snapshots cannot be known. Nothing was
// changed.
var ErrDamaged = errors.New("metadata of snapshots is damaged or lost")

// files is the condition of the files of a store before it is opened.
type files struct {
	db, saved database
	state     stateCondition
}

// source is the file with which a store is opened.
type source int

const (
	fromNowhere source = iota // it is not opened
	fromNothing               // it is new
	fromDB
	fromSaved
)

func (f files) source() source {
	switch {
	case f.saved.is == whole && f.wrongDB() != "":
		return fromSaved
	case f.db.is == whole && (f.state == stateCounts || f.saved.is == missing):
		return fromDB // without a saved file all transactions were synced
	case f.db.is != whole && f.saved.is == missing && f.state == stateMissing:
		return fromNothing
	}
	return fromNowhere
}

// wrongDB returns why the saved file, which is whole, is to be used and not the database,
// or nothing.
func (f files) wrongDB() string {
	db, saved := f.db.info, f.saved.info
	switch {
	case f.db.is != whole:
		return fmt.Sprintf("%s is %v", DBFile, f.db)
	case f.state == stateOther:
		return StateFile + " is of another boot: the machine was not shut down, or the file is damaged"
	case f.state != stateCounts:
		return fmt.Sprintf("%s is %s", StateFile, f.state)
	case saved.TxID > db.TxID:
		return fmt.Sprintf("%s ends with transaction %d, and %s with %d", DBFile, db.TxID, SavedFile, saved.TxID)
	case saved.TxID == db.TxID && saved.Sum != db.Sum:
		return fmt.Sprintf("%s and %s differ after the same transaction", DBFile, SavedFile)
	case db.Torn && !saved.Torn:
		return fmt.Sprintf("a header of %s is damaged", DBFile)
	}
	return ""
}

// later returns the ErrLaterFormat of one of the two databases, or nil.
func (f files) later() error {
	for _, why := range []error{f.db.why, f.saved.why} {
		if errors.Is(why, durable.ErrLaterFormat) {
			return why
		}
	}
	return nil
}

func (s *Store) look() (f files, err error) {
	if f.db, err = s.inspect(DBFile); err != nil {
		return f, err
	}
	if f.saved, err = s.inspect(SavedFile); err != nil {
		return f, err
	}
	f.state, err = s.inspectState()
	return f, err
}

// choose checks the files, and replaces the database by the saved file if the table in
// doc.go says so. Damaged files are moved aside.
func (s *Store) choose(ctx context.Context) error {
	f, err := s.look()
	if err != nil {
		return err
	}
	from := f.source()
	if err := s.refusal(from, f); err != nil {
		return err
	}
	if err := s.removeOddStandbys(); err != nil {
		return err
	}
	var moved []string
	if f.state == stateDamaged {
		moved = append(moved, StateFile)
	}
	switch {
	case from == fromSaved && (f.db.is == damaged || f.db.is == whole && f.state == stateCounts), from == fromNothing && f.db.is == damaged:
		moved = append(moved, DBFile)
	case from == fromDB && f.saved.is == damaged:
		moved = append(moved, SavedFile)
		// Without a saved file all is on disk.
		if err := s.syncDB(); err != nil {
			return err
		}
	}
	s.logChoice(ctx, from, f, moved)
	for _, name := range moved {
		if err := s.moveAside(name); err != nil {
			return err
		}
	}
	if from != fromSaved {
		return nil
	}
	s.lost.Store(true)
	return s.restore(f.saved.size)
}

// refusal returns an ErrDamaged if there is no source, or if the source knows of no snapshot
// although there are directories of snapshots. If there is none because a later version
// wrote the files it returns an ErrLaterFormat.
func (s *Store) refusal(from source, f files) error {
	if later := f.later(); later != nil && (from == fromNowhere || from == fromNothing) {
		return fmt.Errorf("metadata of snapshots in %s: %w", s.dir, later)
	}
	none := from == fromNothing || from == fromDB && f.db.info.Empty || from == fromSaved && f.saved.info.Empty
	if none && s.opts.Orphans != nil {
		orphans, err := s.opts.Orphans()
		if err != nil {
			return err
		}
		if orphans {
			return fmt.Errorf("%w: there are directories of snapshots, and no snapshot is known; %s", ErrDamaged, s.advice(f))
		}
	}
	if from == fromNowhere {
		return fmt.Errorf("%w: %s", ErrDamaged, s.advice(f))
	}
	return nil
}

func (s *Store) advice(f files) string {
	return fmt.Sprintf("in %s, %s is %v, %s is %v, and %s is %s. Nothing was changed or deleted; "+
		"docs/troubleshooting.md (metadata of snapshots) says what can be done",
		s.dir, DBFile, f.db, SavedFile, f.saved, StateFile, f.state)
}
