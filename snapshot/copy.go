package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
)

// copies is the lock under which copies are made, and clean diffs that share no
// inode with what they are shown with, one after the other: two of them must not
// both take a file for one that has one name.
const copies = "\x00copies"

// prepareCopy makes an active snapshot that has, above parent, a copy of what
// another snapshot shows at a path: links to its files. They are made beside the
// snapshot's directory, which they become in the transaction that makes the
// snapshot; with which members it shares inodes is in a label of the same
// transaction, until that is on disk.
func (s *Snapshotter) prepareCopy(ctx context.Context, m making, r merge.CopyRequest) ([]mount.Mount, error) {
	if !s.opts.Settle {
		return nil, fmt.Errorf("copy %q: equal files are not to be stored once: %w", m.key, errdefs.ErrNotImplemented)
	}
	pin := s.pin()
	defer pin.release()
	pairs, err := s.readPairs(ctx, m.key, []merge.Keys{{Upper: r.From}}, pin)
	if err != nil {
		return nil, err
	}
	defer s.lock(copies)()
	s.settlers.barrier()
	made, err := s.makeCopy(ctx, m.parent, pairs[0].upper, r, pin)
	if err != nil {
		return nil, fmt.Errorf("copy %q: %w", m.key, notCopied(err))
	}
	defer func() {
		if err := os.RemoveAll(s.diffDir(made.name)); err != nil {
			log.G(ctx).WithError(err).Warn("a copy that was not made is not deleted")
		}
	}()
	m.copied, m.runs = made.name, false
	if m.labels == nil {
		m.labels = map[string]string{}
	}
	m.labels[merge.CopiedLabel] = made.partners.encode()
	mounts, err := s.create(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := s.keepPartners(ctx, m.key, made.partners); err != nil {
		return nil, errors.Join(err, s.remove(context.WithoutCancel(ctx), m.key))
	}
	return mounts, nil
}

// notCopied gives the class of what a client copies itself to what links cannot
// do: also not to files that belong to nobody of a user namespace, or are
// immutable.
func notCopied(err error) error {
	if errors.Is(err, merge.ErrCopy) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, err)
	}
	return unavailable(err)
}

// madeCopy is a clean diff that becomes the upper directory of a snapshot.
type madeCopy struct {
	name     string
	partners sources // members whose inodes it may have
}

// makeCopy makes a copy of what source shows, which is pinned and the lowest
// first, to be over parent.
func (s *Snapshotter) makeCopy(ctx context.Context, parent string, source []lower, r merge.CopyRequest, pin *pinned) (made madeCopy, err error) {
	var below, shown []lower
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		chain, err := readChain(ctx, parent)
		below, shown = lowersOf(snapshots.KindActive, chain), lowersOf(snapshots.KindView, chain)
		return err
	})
	if err != nil {
		return made, err
	}
	pin.add(shown)
	number := fmt.Sprint(s.merges.Add(1))
	owner := s.owner("copy-" + number)
	defer s.releaseTrees(ctx, owner)
	slices.Reverse(below)
	c := merge.Copying{CopyRequest: r, Lazy: func(i int) bool { return source[len(source)-1-i].isTree() }}
	if c.Stack, err = s.dirs(ctx, owner, source); err != nil {
		return made, err
	}
	if c.Below, err = s.dirs(ctx, owner, below); err != nil {
		return made, err
	}
	found, err := merge.FindCopy(ctx, c, s.mergeOptions())
	if err != nil {
		return made, err
	}
	var from []lower
	for _, i := range found.Sources() {
		from = append(from, source[len(source)-1-i])
	}
	partners, single, err := s.sharing(ctx, from, shown)
	if err != nil {
		return made, err
	}
	done, ok := s.settlers.take(partners)
	if !ok {
		return made, fmt.Errorf("the source is below what may be running: %w", merge.ErrCopy)
	}
	defer done()
	made = madeCopy{name: "c" + number, partners: partners}
	pin.addDiff(made.name)
	if err := os.RemoveAll(s.diffDir(made.name)); err != nil { // an earlier process's
		return made, err
	}
	was, err := found.Make(ctx, s.diffDir(made.name), merge.Links{Single: single, Alone: isAlone})
	if was.Links == 0 {
		made.partners = nil
	}
	log.G(ctx).WithField("source", r.Source).WithField("target", r.Target).
		WithField("links", was.Links).WithField("copies", was.Copies).Debug("copy between snapshots")
	return made, err
}

func isAlone(path string) bool { return wantsOneName(strings.TrimPrefix(path, "/")) }

// sharing returns the members that a snapshot which shows shown will share
// inodes with if it takes links from the lowers from, and whether it may take
// only files that have no name elsewhere: a member that it shows has others, or
// one below what may be running, or a clean diff that counts as sharing no inode.
func (s *Snapshotter) sharing(ctx context.Context, from, shown []lower) (with sources, single bool, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		src, err := s.members(ctx, from)
		if err != nil {
			return err
		}
		seen, err := s.members(ctx, shown)
		if err != nil {
			return err
		}
		if src.meets(seen) {
			return fmt.Errorf("the parent shows the source: %w", merge.ErrCopy)
		}
		others := s.settlers.partners.of(src)
		if single = others.meets(seen) || s.settlers.busy(others); !single {
			single, err = s.hasApart(ctx, src)
		}
		if err != nil {
			return err
		}
		if single {
			others = nil
		}
		with = others.and(src)
		return nil
	})
	return with, single, err
}

// hasApart reports whether there is a clean diff, made to share no inode with
// what it was shown with, that may have inodes of members. It needs a
// transaction. One whose origin is gone does not count: no other merge gets it.
func (s *Snapshotter) hasApart(ctx context.Context, members sources) (bool, error) {
	diffs, err := os.ReadDir(s.diffDir(""))
	if err != nil {
		return false, err
	}
	for _, e := range diffs {
		if !strings.HasSuffix(e.Name(), apartSuffix) {
			continue
		}
		origin, err := s.originOf(ctx, e.Name())
		if err != nil {
			return false, err
		}
		if origin == nil {
			continue
		}
		has, err := s.sources(ctx, origin)
		if err != nil || has.meets(members) {
			return true, err
		}
	}
	return false, nil
}

// members returns all members that lowers may have inodes of, or ErrCopy if that
// is not known. It needs a transaction.
func (s *Snapshotter) members(ctx context.Context, lowers []lower) (sources, error) {
	all := sources{}
	for _, l := range lowers {
		switch {
		case l.isTree(), l.diff == emptyDiff:
		case l.diff == "" && l.part == "":
			id, err := strconv.ParseUint(l.id, 10, 64)
			if err != nil {
				return nil, err
			}
			all[id] = true
		default:
			origin, err := s.originOf(ctx, l.diff)
			if err != nil {
				return nil, err
			}
			if origin == nil {
				return nil, fmt.Errorf("%s has files of snapshots that are not known: %w", filepath.Base(s.lowerDir(l)), merge.ErrCopy)
			}
			more, err := s.members(ctx, origin)
			if err != nil {
				return nil, err
			}
			all = all.and(more)
		}
	}
	return all, nil
}

// encode returns the value of the label.
func (a sources) encode() string {
	ids := []string{"copy"}
	for id := range a {
		ids = append(ids, itoa(id))
	}
	return strings.Join(ids, " ")
}

// copiedFrom returns the members in a label.
func copiedFrom(info snapshots.Info) (sources, error) {
	all := sources{}
	for i, field := range strings.Fields(info.Labels[merge.CopiedLabel]) {
		if i == 0 {
			continue
		}
		id, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, err
		}
		all[id] = true
	}
	return all, nil
}

// keepPartners makes partners of the snapshot key and members.
func (s *Snapshotter) keepPartners(ctx context.Context, key string, members sources) error {
	var id string
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		u, err := readUsable(ctx, key)
		id = u.id
		return err
	})
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return err
	}
	return s.settlers.partners.addAll(n, members)
}
