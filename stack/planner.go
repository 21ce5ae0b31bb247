package stack

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/keylock"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/store"
)

// Trees mounts trees over layers. It is used concurrently.
type Trees interface {
	// Mount mounts a tree for a call in progress, which has a name, and returns the
	// path of its root.
	Mount(ctx context.Context, call string, tree store.Spec) (string, error)
	// Release unmounts the trees of a call that no other call or snapshot has mounted.
	Release(ctx context.Context, call string)
}

// Sharing says which snapshots share inodes, as *settle.Sharing does.
type Sharing interface {
	MustBeApart(parent hardlink.Sources, diffs []hardlink.Sources) []bool
	LockNames(ctx context.Context) (unlock func(), err error)
	Link(l settle.Linking) (copied settle.Copied, done func(), err error)
}

var _ Sharing = (*settle.Sharing)(nil)

// Options say what a Planner works with. All but UserXattr are needed.
type Options struct {
	Dirs      Dirs
	Pins      *Pins
	Trees     Trees
	Sharing   Sharing
	UserXattr bool // see merge.Options
}

// Planner finds what merges and copies of the snapshots of an endpoint consist of, and
// makes the directories that they need. It may be used concurrently.
type Planner struct{ endpoint }

// endpoint is what the calls of an endpoint have in common.
type endpoint struct {
	opts  Options
	diffs diffs
	// making has a lock for the clean diff of each pair: it is made once.
	making keylock.Locks[diffName]
}

// Open returns the Planner of an endpoint. It makes the directory of clean diffs, if it does
// not exist, and deletes in it what an earlier process has left: incomplete directories, and
// clean diffs of which the sources are not stored, since an earlier version made them, and
// that are not stacked. stacked reports whether a merge has a clean diff in its stack.
func Open(ctx context.Context, opts Options, stacked func(diff string) bool) (*Planner, error) {
	p := &Planner{endpoint{opts: opts}}
	p.diffs.init()
	if err := os.MkdirAll(opts.Dirs.Diff(Empty), 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(opts.Dirs.Diff(""))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := p.inspect(ctx, e.Name(), stacked); err != nil {
			return nil, fmt.Errorf("leftover of an earlier process: %w", err)
		}
	}
	return p, nil
}

// inspect looks at a directory that an earlier process has left among the clean diffs.
func (p *Planner) inspect(ctx context.Context, name string, stacked func(diff string) bool) error {
	p.diffs.skip(name)
	dir := p.opts.Dirs.Diff(name)
	if strings.HasPrefix(name, hardlink.Prefix) {
		return os.RemoveAll(dir)
	}
	diff, ok := parseDiffName(name)
	if !ok {
		return nil
	}
	of, err := p.sourcesOf(name)
	if err != nil {
		log.G(ctx).WithError(err).Warn("cannot read of which snapshots a clean diff has inodes")
		of = hardlink.SourcesOf(hardlink.Unknown)
	}
	if !of.Known() && !stacked(name) {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		log.G(ctx).WithError(err).Warn("cannot delete a clean diff of an earlier version")
	}
	if diff.apart {
		p.diffs.putApart(diff, of)
	}
	return nil
}

// sourcesOf returns the snapshots of which the directory of a clean diff has inodes. If an
// earlier version made it, they are unknown.
func (e *endpoint) sourcesOf(name string) (hardlink.Sources, error) {
	ids, known, err := merge.Of(e.opts.Dirs.Diff(name), e.mergeOptions())
	if err != nil || known {
		return hardlink.SourcesOf(ids...), err
	}
	return hardlink.SourcesOf(hardlink.Unknown), nil
}

func (e *endpoint) mergeOptions() merge.Options { return merge.Options{UserXattr: e.opts.UserXattr} }
