package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/ladle-dev/ladle/durable"
)

// metaStore is containerd's MetaStore without waiting for the disk.
//
// Transactions are written and not synced: a client holds a transaction of its
// own while it waits for us. What a killed process wrote is in the page cache,
// in the order in which it was written, so nothing is lost. A reset of the
// machine can leave any part of it on disk. So soon after each transaction the
// file as a whole is copied beside it, synced and renamed: the saved file,
// which is always what the metadata was at some time. After a reset it takes
// the place of the other. What is lost is what was done between the last copy
// and the reset, most often some milliseconds.
//
// The state file tells which of the two is right: it has the identity of the
// boot in which the metadata is in use, or "closed" if it was synced and closed.
//
// Space for all of it is set aside, so that on a full disk snapshots can be
// removed, and looked at: the metadata has blocks behind its end, and the other
// two files have standbys (package durable). Where that was not possible, since
// the disk was full before there was a standby, each transaction is synced, and
// there is no saved file until there is space for one.
//
// INVARIANT: if there is no saved file, whatever the state file says, all
// transactions that have ended are on disk.
type metaStore struct {
	*storage.MetaStore
	dir    string
	named  []string                               // directories: the metadata names entries of these
	boot   string                                 // empty: it is not known, and all is synced at once
	lost   atomic.Bool                            // this is the saved file, and numbers were not skipped yet
	synced bool                                   // each transaction is synced
	file   *os.File                               // opened by bolt
	dirty  chan struct{}                          // has room for one; a transaction was written
	saving chan struct{}                          // full while somebody changes the saved file
	count  struct{ written, saved atomic.Uint64 } // transactions, and those that the saved file has
	ending chan struct{}                          // closed by Close
	ended  chan struct{}                          // closed when nobody saves any more
}

const (
	metadataFile = "metadata.db"
	savedFile    = "metadata.saved"
	stateFile    = "metadata.state"
	stateClosed  = "closed"
)

func (m *metaStore) path(name string) string { return filepath.Join(m.dir, name) }

// WithTransaction is that of the MetaStore.
func (m *metaStore) WithTransaction(ctx context.Context, writable bool, fn storage.TransactionCallback) error {
	do := fn
	if m.synced && writable {
		do = func(ctx context.Context) error { return errors.Join(fn(ctx), m.syncNamed()) }
	}
	err := m.MetaStore.WithTransaction(ctx, writable, do)
	if err == nil && writable {
		m.count.written.Add(1)
		m.hasChanged()
	}
	return err
}

// hasChanged lets the file be saved soon.
func (m *metaStore) hasChanged() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

func (m *metaStore) writeState(state string) error {
	b, err := os.ReadFile(m.path(stateFile))
	if err == nil && strings.TrimSpace(string(b)) == state {
		return nil
	}
	return durable.Rewrite(m.path(stateFile), []byte(state+"\n"))
}

// Close closes the metadata, on disk.
func (m *metaStore) Close() error {
	if m.boot == "" {
		return m.MetaStore.Close()
	}
	select {
	case <-m.ending:
		return nil // closed before
	default:
	}
	close(m.ending)
	<-m.ended
	if err := m.file.Sync(); err != nil {
		return errors.Join(err, m.MetaStore.Close())
	}
	if err := m.MetaStore.Close(); err != nil {
		return err
	}
	err := m.writeState(stateClosed)
	if durable.NoSpace(err) {
		return m.giveUpSaved(context.Background()) // which says the same, and nobody saves any more
	}
	return err
}

// bootID returns what the kernel calls the time since it was started, or
// nothing if it does not say.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
