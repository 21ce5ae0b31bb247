package hardlink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Members gives a pool access to its members, directories with numbers that are never
// reused, and to the state of views.
type Members interface {
	// Dir returns the directory of a member. Only the pool changes its content.
	Dir(id uint64) string
	// Free reports whether no view shows the member at the moment.
	Free(id uint64) bool
	// Apart reports whether no view, mounted or not, shows both members, and none will
	// before Pair is called for them.
	Apart(a, b uint64) bool
	// Pair is called before a gets a name of an inode that each of others has a name of;
	// others has no duplicates. When Pair has returned nil, a and each of others must be
	// known as a pair as long as both exist. It can be called again for the same members.
	Pair(a uint64, others []uint64) error
	// Hold calls do, and lets no view be created meanwhile. do is short.
	Hold(do func() error) error
}

// PoolOptions configure a pool. Members is required.
type PoolOptions struct {
	Members Members
	// Single reports whether the file at path, relative to the directory of its
	// member, must not have several links. Nil: no file.
	Single func(path string) bool
	// Link makes hard links even if the filesystem can share extents.
	Link bool
}

// Pool deduplicates the files of its members. It must not be called concurrently.
type Pool struct {
	opts   PoolOptions
	dir    string
	shares bool     // extents; else links
	db     *bolt.DB // nil before the first transaction
}

// IsPool reports whether OpenPool has been called for dir.
func IsPool(dir string) bool {
	_, err := os.Lstat((&Pool{dir: dir}).scratch())
	return err == nil
}

// OpenPool opens or creates the pool that stores its own files in dir, which is on the
// filesystem of all members. If a Settle was interrupted, OpenPool restores the times of
// modification of the directories that it was changing.
func OpenPool(dir string, opts PoolOptions) (*Pool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Pool{opts: opts, dir: dir}
	if err := p.restoreTimes(); err != nil {
		return nil, fmt.Errorf("restore directory times after an interruption: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, oldIndexName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// An interrupted Settle leaves links in there that it had not renamed yet.
	if err := errors.Join(os.RemoveAll(p.scratch()), os.Mkdir(p.scratch(), 0o700)); err != nil {
		return nil, err
	}
	shares, err := sharesExtents(p.scratch())
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", dir, err)
	}
	p.shares = shares && !opts.Link
	return p, nil
}

// Shares reports whether the pool shares extents (FIDEDUPERANGE) and not inodes (hard
// links). Sharing extents changes nothing about a file that a program can read.
func (p *Pool) Shares() bool { return p.shares }

// Close closes the pool. Files that share storage continue to share it.
func (p *Pool) Close() error {
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}

func (p *Pool) scratch() string   { return filepath.Join(p.dir, "new") }
func (p *Pool) indexFile() string { return filepath.Join(p.dir, indexName) }
func (p *Pool) timesFile() string { return filepath.Join(p.dir, "times") }

// Keep deletes every member for which exists(id) is false from the index. It returns the
// remaining ones, and whether they are settled. It writes only if a member is deleted.
func (p *Pool) Keep(exists func(id uint64) bool) (settled map[uint64]bool, err error) {
	var gone []uint64
	err = p.view(func(x index) error {
		settled = x.members()
		return nil
	})
	for id := range settled {
		if !exists(id) {
			gone = append(gone, id)
			delete(settled, id)
		}
	}
	if err != nil || len(gone) == 0 {
		return settled, err
	}
	return settled, p.update(func(x index) error {
		for _, id := range gone {
			if err := x.forget(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reached is the result of Settle.
type Reached struct {
	Linked, Shared Amount
	// Blocked are members that have equal files, but are shown by a view. When one
	// of them is free, Settle can be called again. If Blocked is empty, the member
	// is settled.
	Blocked []uint64
}

// Amount counts files and the bytes of their contents.
type Amount struct{ Files, Bytes int64 }

func (a *Amount) add(size int64) { a.Files++; a.Bytes += size }

// ErrInUse is the error of Settle if a view of the member was created meanwhile.
var ErrInUse = errors.New("a view shows the member")

// Settle lets files of a member share storage with equal files of members that were
// settled before. It can be interrupted at any time, and repeated.
func (p *Pool) Settle(ctx context.Context, id uint64) (Reached, error) {
	s := settling{Pool: p, id: id, root: p.opts.Members.Dir(id), last: map[contentKey]uint64{}, blocked: map[uint64]bool{}}
	err := s.run(ctx)
	for t := range s.blocked {
		s.reached.Blocked = append(s.reached.Blocked, t)
	}
	if err != nil {
		return s.reached, fmt.Errorf("settle %s: %w", s.root, err)
	}
	return s.reached, nil
}
