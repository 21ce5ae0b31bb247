package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// apartSuffix ends the name of a clean diff that shares no inode.
const apartSuffix = "a"

// cleanDiff is how the clean diff of a pair is stacked.
type cleanDiff struct {
	lower     stack.Lower
	whiteouts bool // there are some, or may be
	empty     bool // there is nothing to stack
	// attributed are its directories with extended attributes (package merge).
	attributed []string
}

// knownDiffs are clean diffs that were found before, by the names of their
// pairs. What is not known is found again: it is in the layer or on disk.
type knownDiffs struct {
	mu struct {
		sync.Mutex
		diffs map[string]cleanDiff
		// apart are the clean diffs on disk that share no inode with what they
		// were first shown with, and the snapshots of which they have inodes.
		apart map[string]hardlink.Sources
		last  uint64 // number in the name of what was made for one call
	}
}

// next returns a number for the name of what is made for one call. What a sweep has
// found to be of no snapshot is never made again.
func (k *knownDiffs) next() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.last++
	return k.mu.last
}

// skip lets next return numbers beyond the one in the name of what an earlier process
// left.
func (k *knownDiffs) skip(name string) {
	n, err := strconv.ParseUint(strings.TrimLeft(name, "cst"), 10, 32)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.last = max(k.mu.last, n)
}

func (k *knownDiffs) get(name string) (cleanDiff, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, ok := k.mu.diffs[name]
	return d, ok
}

func (k *knownDiffs) put(name string, d cleanDiff) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.diffs == nil {
		k.mu.diffs = map[string]cleanDiff{}
	}
	k.mu.diffs[name] = d
}

// keep forgets the diffs for whose names there is false.
func (k *knownDiffs) keep(there func(name string) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.mu.diffs, func(name string, _ cleanDiff) bool { return !there(name) })
	maps.DeleteFunc(k.mu.apart, func(name string, _ hardlink.Sources) bool { return !there(name) })
}

// putApart notes a clean diff that is apart and has inodes of members.
func (k *knownDiffs) putApart(name string, of hardlink.Sources) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.apart == nil {
		k.mu.apart = map[string]hardlink.Sources{}
	}
	k.mu.apart[name] = of
}

// hasApart reports whether a clean diff that is apart has inodes of one of members.
func (k *knownDiffs) hasApart(members hardlink.Sources) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, of := range k.mu.apart {
		if of.Meets(members) {
			return true
		}
	}
	return false
}

// cleanDiff finds the clean diff of a pair, and makes it if it must. The pair
// is pinned. lowest says that nothing will lie below it. Trees are mounted for
// owner.
func (s *Snapshotter) cleanDiff(ctx context.Context, owner string, p pair, lowest bool) (cleanDiff, error) {
	both := merge.Pair{Lower: s.side(p.lower), Upper: s.side(p.upper)}
	if spec, ok := both.Index(lowest); ok {
		return cleanDiff{lower: stack.Lower{Tree: spec}, whiteouts: spec.Kind == store.Diff}, nil
	}
	defer s.lock("\x00pair " + p.name)()
	if p.apart {
		// Which files have several names changes with every copy: what is
		// clean as it is now is not for ever.
		unlock, err := s.sharing.LockNames(ctx)
		if err != nil {
			return cleanDiff{}, err
		}
		defer unlock()
		return s.findDiff(ctx, owner, p, both)
	}
	if d, ok := s.diffs.get(p.name); ok {
		return d, nil
	}
	d, err := s.findDiff(ctx, owner, p, both)
	if err == nil {
		s.diffs.put(p.name, d)
	}
	return d, err
}

func (s *Snapshotter) findDiff(ctx context.Context, owner string, p pair, both merge.Pair) (cleanDiff, error) {
	if _, err := os.Lstat(s.dirs.Diff(p.name)); err == nil {
		return s.madeDiff(ctx, p.name)
	} else if !errors.Is(err, os.ErrNotExist) {
		return cleanDiff{}, err
	}
	down, up := p.lower, p.upper
	_, adjacent := both.Own()
	if adjacent {
		down, up = p.base, p.upper[len(p.upper)-1:]
	}
	below, err := s.lowerDirs(ctx, owner, down)
	if err != nil {
		return cleanDiff{}, err
	}
	above, err := s.lowerDirs(ctx, owner, up)
	if err != nil {
		return cleanDiff{}, err
	}
	opts := s.mergeOptions()
	opts.Apart = p.apart
	var diff *merge.Diff
	if adjacent {
		diff, err = merge.Scan(ctx, above[0], below, opts)
	} else {
		diff, err = merge.Compare(ctx, below, above, opts)
	}
	switch {
	case err != nil:
		return cleanDiff{}, err
	case diff.Empty():
		return cleanDiff{empty: true}, nil
	case diff.AsIs:
		return cleanDiff{lower: p.upper[len(p.upper)-1], whiteouts: diff.Whiteouts, attributed: diff.Attributed}, nil
	}
	of := linkedOf(diff, append(placesOf(up, above), placesOf(down, below)...))
	if _, err := s.makeDiff(ctx, p.name, diff, of); err != nil {
		return cleanDiff{}, err
	}
	if p.apart {
		s.diffs.putApart(p.name, of)
	}
	return cleanDiff{lower: stack.Lower{Diff: p.name, Of: of}, whiteouts: diff.Whiteouts, attributed: diff.Attributed}, nil
}

// madeDiff returns the clean diff that was made with a name, maybe by an earlier
// process.
func (s *Snapshotter) madeDiff(ctx context.Context, name string) (cleanDiff, error) {
	d := cleanDiff{lower: stack.Lower{Diff: name}, whiteouts: true}
	var err error
	if d.attributed, err = merge.Attributed(ctx, s.dirs.Diff(name), s.mergeOptions()); err != nil {
		return d, err
	}
	d.lower.Of, err = s.ofDiff(name)
	return d, err
}

func (s *Snapshotter) mergeOptions() merge.Options {
	return merge.Options{UserXattr: slices.Contains(s.options, "userxattr")}
}

// dirs returns the directories of lowers, the topmost first, trees mounted for
// owner.
func (s *Snapshotter) lowerDirs(ctx context.Context, owner string, lowers []stack.Lower) ([]string, error) {
	var dirs []string
	for _, l := range slices.Backward(lowers) {
		dir := s.dirs.Lower(l)
		if l.IsTree() {
			var err error
			if dir, err = s.mountTree(ctx, owner, l.Tree); err != nil {
				return nil, err
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

func (s *Snapshotter) side(lowers []stack.Lower) merge.Side {
	var side merge.Side
	for _, l := range lowers {
		if l.IsTree() {
			side = append(side, merge.Lower{Tree: l.Tree})
		} else {
			side = append(side, merge.Lower{Dir: s.dirs.Lower(l)})
		}
	}
	return side
}

// makeDiffs makes the directory of clean diffs, and deletes what an earlier
// process did not make whole.
func (s *Snapshotter) makeDiffs(ctx context.Context) error {
	if err := os.MkdirAll(s.dirs.Diff(stack.Empty), 0o755); err != nil {
		return err
	}
	begun, err := filepath.Glob(s.dirs.Diff("new-*"))
	if err != nil {
		return err
	}
	for _, dir := range begun {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("leftover of an earlier process: %w", err)
		}
	}
	return s.readDiffs(ctx)
}
