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

// Members are the directories of a pool, each by a number that is never used
// twice, and what is known of who looks at them. A view is whatever can show
// files of several members at once, as an overlay mount over them does.
type Members interface {
	// Dir returns the directory of a member. Nothing below it is written in
	// place or renamed, but by the pool.
	Dir(id uint64) string
	// Free reports whether no view shows the member now.
	Free(id uint64) bool
	// Apart reports whether there is no view, mounted or not, that shows
	// both members, and there will be none but after a call of Pair for them.
	Apart(a, b uint64) bool
	// Pair is called before a comes to have an inode that all of others
	// have, each once. When it has returned nil, that a and each of others
	// are a pair must be known for as long as both exist. It may be called
	// again for the same members.
	Pair(a uint64, others []uint64) error
	// Hold runs do while no view comes to be. It is short.
	Hold(do func() error) error
}

// PoolOptions say what a pool is made of. Members is needed.
type PoolOptions struct {
	Members Members
	// Single reports whether the file at path, below the directory of a
	// member, must have one name only. Nil: none.
	Single func(path string) bool
	// Link makes hard links also where the filesystem could share extents.
	Link bool
}

// Pool stores equal files of its members once. It is used by one goroutine at
// a time.
type Pool struct {
	opts   PoolOptions
	dir    string
	shares bool     // by extents, else by links
	db     *bolt.DB // nil until it is needed
}

// OpenPool opens or makes the pool that keeps its own files in dir, on the
// filesystem of all members. Directories that an interrupted Settle left with
// another time of modification get theirs back before it returns.
func OpenPool(dir string, opts PoolOptions) (*Pool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Pool{opts: opts, dir: dir}
	if err := p.mend(); err != nil {
		return nil, fmt.Errorf("mend times after an interruption: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, oldIndexName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Names of links that were made and not renamed.
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

// Shares reports whether the pool shares extents, which nobody can see, and not
// inodes.
func (p *Pool) Shares() bool { return p.shares }

// Close closes the pool. What is shared stays shared.
func (p *Pool) Close() error {
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}

func (p *Pool) scratch() string   { return filepath.Join(p.dir, "new") }
func (p *Pool) indexFile() string { return filepath.Join(p.dir, indexName) }
func (p *Pool) timesFile() string { return filepath.Join(p.dir, "times") }

// Keep forgets all members for which there is false, and reports of the others
// which are settled. It writes only if there is something to forget.
func (p *Pool) Keep(there func(id uint64) bool) (settled map[uint64]bool, err error) {
	var gone []uint64
	err = p.view(func(x index) error {
		settled = x.members()
		return nil
	})
	for id := range settled {
		if !there(id) {
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

// Reached is what Settle came to.
type Reached struct {
	Linked, Shared Amount
	// Blocked are members with equal files that some view showed. Settle may
	// be called again when one of them is free; else the member is settled.
	Blocked []uint64
}

// Amount counts files and the bytes of their contents.
type Amount struct{ Files, Bytes int64 }

func (a *Amount) add(size int64) { a.Files++; a.Bytes += size }

// ErrInUse says that a view came to show the member that is being settled.
var ErrInUse = errors.New("in use")

// Settle makes the files of a member share storage with equal files of members
// that were settled before. It can be interrupted at any time, and called
// again.
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
