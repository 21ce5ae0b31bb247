package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"
	bolt "go.etcd.io/bbolt"

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
type metaStore struct {
	*storage.MetaStore
	dir    string
	named  []string      // directories whose entries the metadata names
	boot   string        // empty: it is not known, and all is synced at once
	lost   bool          // the machine was reset, and this is the saved file
	file   *os.File      // opened by bolt
	dirty  chan struct{} // has room for one; a transaction was written
	saving chan struct{} // full while somebody saves
	// written counts transactions, saved is how many of them the saved file has.
	written, saved atomic.Uint64
	ending         chan struct{} // closed by Close
	ended          chan struct{} // closed when nobody saves any more
}

const (
	metadataFile = "metadata.db"
	savedFile    = "metadata.saved"
	stateFile    = "metadata.state"
	stateClosed  = "closed"
)

// openMetadata opens or makes the metadata in dir. boot names the time since
// the machine was started, and named are the directories whose entries the metadata
// names, which need not be there yet.
func openMetadata(ctx context.Context, dir, boot string, named ...string) (*metaStore, error) {
	m := &metaStore{
		dir: dir, named: named, boot: boot, dirty: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		ending: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := m.recover(ctx); err != nil {
		return nil, err
	}
	var err error
	m.MetaStore, err = storage.NewMetaStore(m.path(metadataFile), func(o *bolt.Options) error {
		o.Timeout = lockTimeout
		o.NoSync, o.NoGrowSync = boot != "", boot != ""
		o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			m.file, err = os.OpenFile(name, flag, mode)
			return m.file, err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if boot == "" {
		close(m.ended)
		return m, nil
	}
	// There is a saved file before the first transaction that is not synced.
	if err := m.save(ctx); err != nil {
		return nil, errors.Join(err, m.MetaStore.Close())
	}
	if err := m.writeState(boot); err != nil {
		return nil, errors.Join(err, m.MetaStore.Close())
	}
	// It lives as long as the endpoint, not as the call that opens it.
	go m.keepSaving(context.WithoutCancel(ctx))
	return m, nil
}

func (m *metaStore) path(name string) string { return filepath.Join(m.dir, name) }

// recover puts the saved file in place if the machine was reset since the
// metadata was in use.
func (m *metaStore) recover(ctx context.Context) error {
	state, err := os.ReadFile(m.path(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // new, or always synced
	}
	if err != nil {
		return err
	}
	if s := strings.TrimSpace(string(state)); s == stateClosed || s == m.boot {
		return nil
	}
	log.G(ctx).Warn("the machine was not shut down: snapshots are as they were last saved")
	m.lost = true
	return m.restore()
}

// restore makes the metadata a copy of the saved file.
func (m *metaStore) restore() (err error) {
	saved, err := os.Open(m.path(savedFile))
	if err != nil {
		return err
	}
	defer saved.Close()
	made, err := durable.Create(m.path(metadataFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	if _, err := io.Copy(made, saved); err != nil {
		return err
	}
	return made.Commit()
}

// WithTransaction is that of the MetaStore.
func (m *metaStore) WithTransaction(ctx context.Context, writable bool, fn storage.TransactionCallback) error {
	err := m.MetaStore.WithTransaction(ctx, writable, fn)
	if err == nil && writable {
		m.written.Add(1)
		select {
		case m.dirty <- struct{}{}:
		default:
		}
	}
	return err
}

// keepSaving saves the file after transactions, and rests between for a
// multiple of the time that it took.
func (m *metaStore) keepSaving(ctx context.Context) {
	defer close(m.ended)
	for {
		select {
		case <-m.ending:
			return
		case <-m.dirty:
		}
		began := time.Now()
		if err := m.save(ctx); err != nil {
			log.G(ctx).WithError(err).Error("metadata of snapshots is not saved")
		}
		select {
		case <-m.ending:
			return
		case <-time.After(4 * time.Since(began)):
		}
	}
}

// errCopied ends the transaction that a copy needs, without writing.
var errCopied = errors.New("copied")

// sync returns when all transactions that have ended are on disk. What a removed
// snapshot had is deleted only then, or the snapshot could be back without it.
func (m *metaStore) sync(ctx context.Context) error {
	if m.boot == "" || m.saved.Load() == m.written.Load() {
		return nil
	}
	return m.save(ctx)
}

// save makes the saved file as the metadata is now.
func (m *metaStore) save(ctx context.Context) (err error) {
	select {
	case m.saving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.saving }()
	made, err := durable.Create(m.path(savedFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	// While there is a transaction that could write, no other one writes.
	var written uint64
	err = m.MetaStore.WithTransaction(ctx, true, func(context.Context) error {
		written = m.written.Load()
		info, err := m.file.Stat()
		if err != nil {
			return err
		}
		if _, err := io.Copy(made, io.NewSectionReader(m.file, 0, info.Size())); err != nil {
			return err
		}
		return errCopied
	})
	if !errors.Is(err, errCopied) {
		return fmt.Errorf("save metadata: %w", err)
	}
	if err := m.syncNamed(); err != nil {
		return err
	}
	if err := made.Commit(); err != nil {
		return err
	}
	m.saved.Store(written)
	return nil
}

// syncNamed writes the entries of the named directories to disk. ext4 and xfs have
// one order for all that they write about names, so that these would be there before
// the saved file is. What fsync(2) writes on btrfs (Linux 6.18, fs/btrfs/tree-log.c)
// is of one file, and of new directories below one directory.
func (m *metaStore) syncNamed() error {
	for _, dir := range m.named {
		if err := durable.SyncDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (m *metaStore) writeState(state string) error {
	return durable.Write(m.path(stateFile), []byte(state+"\n"))
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
	return m.writeState(stateClosed)
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
