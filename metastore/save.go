package metastore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
)

const (
	// saveRetry is how long after a failure the metadata is saved again.
	saveRetry = 5 * time.Second

	// stateSize is more bytes than the state file has.
	stateSize = 512

	// room is about how many bytes metadata can grow on a full disk: that of
	// several hundred snapshots.
	room = 1 << 20
)

// setAside returns the bytes for which metadata of size bytes has blocks.
func setAside(size int64) int64 { return (size/room + 2) * room }

// keepSaving makes the saved file after transactions until Close, and then rests for four
// times as long as that took. After a failure it repeats it, every saveRetry.
func (s *Store) keepSaving(ctx context.Context) {
	defer close(s.ended)
	failed := false
	for {
		select {
		case <-s.ending:
			return
		case <-s.dirty:
		}
		began := time.Now()
		err := s.protectAgain(ctx)
		rest := 4 * time.Since(began)
		if err != nil {
			rest = saveRetry
			s.hasChanged()
		}
		if failed != (err != nil) {
			failed = err != nil
			logSaving(ctx, err)
		}
		select {
		case <-s.ending:
			return
		case <-time.After(rest):
		}
	}
}

// protectAgain is protect beside transactions.
func (s *Store) protectAgain(ctx context.Context) error {
	if !s.synced {
		return s.protect(ctx)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if need := 4 * setAside(info.Size()); int64(fs.Bavail)*fs.Bsize < need {
		return fmt.Errorf("less than %d bytes are free: %w", need, unix.ENOSPC)
	}
	if err := s.protect(ctx); err != nil {
		return errors.Join(err, s.giveUpSaved(ctx))
	}
	return nil
}

func logSaving(ctx context.Context, err error) {
	if err != nil {
		log.G(ctx).WithError(err).Error("metadata of snapshots is not saved: after a reset of the machine it is as before")
	} else {
		log.G(ctx).Info("metadata of snapshots is saved again")
	}
}

// Sync returns when all transactions that have ended are on disk. What a removed
// snapshot had on disk must be deleted only then: after a reset of the machine the
// snapshot could otherwise be there again, without it.
func (s *Store) Sync(ctx context.Context) error {
	if s.count.saved.Load() == s.count.written.Load() {
		return nil
	}
	if _, err := os.Lstat(s.path(SavedFile)); s.synced && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	err := s.save(ctx)
	if s.synced && durable.NoSpace(err) {
		return s.giveUpSaved(ctx)
	}
	return err
}

// giveUpSaved removes the saved file when the metadata is on disk. Each transaction
// from then on must be synced.
func (s *Store) giveUpSaved(ctx context.Context) error {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.syncDB(); err != nil {
		return err
	}
	for _, name := range []string{SavedFile, SavedFile + durable.Suffix} {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return durable.SyncDir(s.dir)
}

// syncDB returns when the database is on disk.
func (s *Store) syncDB() error {
	f, err := os.Open(s.path(DBFile))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// turn waits until no other goroutine changes the saved file. The caller changes it, and
// then calls done.
func (s *Store) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.saving <- struct{}{}:
		return func() { <-s.saving }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// save makes the saved file as the metadata is now.
func (s *Store) save(ctx context.Context) (err error) {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	made, written, err := s.copyUnchanged(ctx)
	if made != nil {
		defer func() { err = errors.Join(err, made.Close()) }()
	}
	if err != nil {
		return fmt.Errorf("save metadata: %w", err)
	}
	if err := s.syncNamed(); err != nil {
		return err
	}
	if err := made.Commit(); err != nil {
		return err
	}
	s.count.saved.Store(written)
	return nil
}

// copyUnchanged is copy while no transaction writes. It also returns how many
// transactions had written before.
func (s *Store) copyUnchanged(ctx context.Context) (made *durable.File, written uint64, err error) {
	err = s.Exclusively(ctx, func(context.Context) (err error) {
		written = s.count.written.Load()
		made, err = s.copy()
		return err
	})
	return made, written, err
}

// syncNamed writes the entries of the named directories to disk. ext4 and xfs have
// one order for all that they write about names, so that these would be there before
// the saved file is. What fsync(2) writes on btrfs (Linux 6.18, fs/btrfs/tree-log.c)
// is of one file, and of new directories below one directory.
func (s *Store) syncNamed() error {
	for _, dir := range s.opts.Named {
		if err := durable.SyncDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copy makes a copy of the metadata that can become the saved file. It needs a
// transaction that could write.
func (s *Store) copy() (*durable.File, error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	made, err := durable.CreateStandby(s.path(SavedFile), setAside(info.Size()))
	if err != nil {
		return nil, err
	}
	sum := crc32.New(castagnoli)
	_, err = io.Copy(io.MultiWriter(made, sum), io.NewSectionReader(s.file, 0, info.Size()))
	if err == nil {
		_, err = made.Write(trailer(info.Size(), sum.Sum32()))
	}
	return made, err
}

// setAside gives the metadata, and the standby of the saved file, blocks behind
// their ends.
func (s *Store) setAside() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	size := setAside(info.Size())
	return errors.Join(durable.Allocate(s.file, size), durable.SetAside(s.path(SavedFile), size))
}
