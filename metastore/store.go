package metastore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/ladle-dev/ladle/durable"
)

// The files of a store, in its directory. The content of the state file is Closed if the
// store was closed, else the boot id.
const (
	DBFile    = "metadata.db"
	SavedFile = "metadata.saved"
	StateFile = "metadata.state"
	Closed    = "closed"
)

// lockTimeout is how long another process may hold the database.
const lockTimeout = 10 * time.Second

// Options say how a store is opened. BootID is needed.
type Options struct {
	// BootID names the time since the machine was started (durable.BootID).
	BootID string
	// Named are directories with entries that the metadata names. Before the saved
	// file names an entry, the entry is on disk. They need not exist.
	Named []string
	// Orphans reports whether there are directories of snapshots. It is called if the
	// metadata has no snapshot; if it returns true the store is not opened. Nil: there
	// are none.
	Orphans func() (bool, error)
}

// Store is the metadata of one endpoint's snapshots. It may be used concurrently.
//
// INVARIANT: if there is no saved file, whatever the state file says, all
// transactions that have ended are on disk.
type Store struct {
	db     *storage.MetaStore
	dir    string
	opts   Options
	lost   atomic.Bool                            // see Lost
	synced bool                                   // each transaction is synced
	file   *os.File                               // opened by bolt
	dirty  chan struct{}                          // has room for one; a transaction was written
	saving chan struct{}                          // full while a goroutine changes the saved file
	count  struct{ written, saved atomic.Uint64 } // transactions that ended; that the saved file has
	ending chan struct{}                          // closed by Close
	ended  chan struct{}                          // closed when keepSaving has returned
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// WithTransaction is the method of containerd's MetaStore. When it has returned, the writes
// of the transaction survive the end of the process; after a Sync also a reset of the
// machine.
func (s *Store) WithTransaction(ctx context.Context, writable bool, fn storage.TransactionCallback) error {
	do := fn
	if s.synced && writable {
		do = func(ctx context.Context) error { return errors.Join(fn(ctx), s.syncNamed()) }
	}
	err := s.db.WithTransaction(ctx, writable, do)
	if err == nil && writable {
		s.count.written.Add(1)
		s.hasChanged()
	}
	return err
}

// Exclusively calls fn in a transaction beside which no other one writes. What fn writes
// is rolled back, so that the saved file does not become older by it.
func (s *Store) Exclusively(ctx context.Context, fn storage.TransactionCallback) error {
	// MetaStore.WithTransaction rolls a writable transaction back only after an error,
	// which it logs.
	ctx, tx, err := s.db.TransactionContext(ctx, true)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx), tx.Rollback())
}

// hasChanged has keepSaving save the metadata soon.
func (s *Store) hasChanged() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// Lost reports whether the last transactions before the store was opened may be
// missing, since the database was replaced by the saved file. Numbers that they gave to
// snapshots must then not be given again. It is true until ClearLost is called.
func (s *Store) Lost() bool { return s.lost.Load() }

// ClearLost says that the numbers of lost transactions were skipped.
func (s *Store) ClearLost() { s.lost.Store(false) }

func (s *Store) writeState(state string) error {
	b, err := os.ReadFile(s.path(StateFile))
	if err == nil && strings.TrimSpace(string(b)) == state {
		return nil
	}
	return durable.Rewrite(s.path(StateFile), []byte(state+"\n"))
}

// Close closes the store. All transactions are then on disk. It may be called again.
func (s *Store) Close() error {
	select {
	case <-s.ending:
		return nil // closed before
	default:
	}
	close(s.ending)
	<-s.ended
	// If the saved file is a copy of the closed database, damage of one is found and the
	// other one is used.
	if err := s.Sync(context.Background()); err != nil && !durable.NoSpace(err) {
		return errors.Join(err, s.db.Close())
	}
	if err := s.file.Sync(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	err := s.writeState(Closed)
	if durable.NoSpace(err) {
		// Without a saved file the state file does not matter; keepSaving has ended.
		return s.giveUpSaved(context.Background())
	}
	return err
}
