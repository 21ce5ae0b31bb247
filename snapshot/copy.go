package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	m.labels[merge.CopiedLabel] = made.label()
	mounts, err := s.create(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := s.keepPartners(ctx, m.key, made); err != nil {
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
	name string
	from sources // it has links to files of these
	// alone: no file that was linked had another name, so that it shares no
	// inode with partners of from.
	alone bool
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
	number := fmt.Sprint(s.diffs.next())
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
	src, others, err := s.sharing(from, shown)
	if err != nil {
		return made, err
	}
	done, ok := s.settlers.take(src.and(others))
	if !ok {
		return made, fmt.Errorf("the source is below what may be running: %w", merge.ErrCopy)
	}
	defer done()
	made = madeCopy{name: "c" + number, from: src, alone: others == nil}
	pin.addDiff(made.name)
	if err := os.RemoveAll(s.diffDir(made.name)); err != nil { // an earlier process's
		return made, err
	}
	was, err := found.Make(ctx, s.diffDir(made.name), merge.Links{Single: made.alone, Alone: isAlone})
	if was.Links == 0 {
		made.from = nil
	}
	log.G(ctx).WithField("source", r.Source).WithField("target", r.Target).
		WithField("links", was.Links).WithField("copies", was.Copies).Debug("copy between snapshots")
	return made, err
}

func isAlone(path string) bool { return wantsOneName(strings.TrimPrefix(path, "/")) }

// sharing returns the members that a snapshot over shown takes files of if it takes
// links from the lowers from, and their partners, which may have the same files. It
// returns nil for the latter, and not an empty set, if only files that have no other
// name may be taken: one may be in a member that is shown, or below what may be
// running, or in a clean diff that counts as sharing no inode.
func (s *Snapshotter) sharing(from, shown []lower) (src, others sources, err error) {
	src = membersOf(from)
	if !src.known() {
		return nil, nil, fmt.Errorf("the source has files of snapshots that are not known: %w", merge.ErrCopy)
	}
	seen := membersOf(shown)
	if src.meets(seen) {
		return nil, nil, fmt.Errorf("the parent shows the source: %w", merge.ErrCopy)
	}
	others = s.settlers.partners.of(src)
	if others.meets(seen) || s.settlers.busy(others) || s.diffs.hasApart(src) {
		return src, nil, nil
	}
	return src, others, nil
}

// The first word in the value of the label of a copy. The snapshots follow that it has
// links to files of. Earlier versions wrote their partners, too, after labelShared.
const (
	labelShared = "copy"
	labelAlone  = "single" // no file that was linked had another name
)

func (m madeCopy) label() string {
	fields := []string{labelShared}
	if m.alone {
		fields[0] = labelAlone
	}
	for _, id := range m.from.list() {
		fields = append(fields, itoa(id))
	}
	return strings.Join(fields, " ")
}

// copiedFrom returns what the label of a copy says.
func copiedFrom(info snapshots.Info) (from sources, alone bool, err error) {
	fields := strings.Fields(info.Labels[merge.CopiedLabel])
	if len(fields) == 0 {
		return nil, false, nil
	}
	from = sources{}
	for _, field := range fields[1:] {
		id, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, false, err
		}
		from[id] = true
	}
	return from, fields[0] == labelAlone, nil
}

// keepPartners makes the snapshot key, a copy, a partner of those that it has files
// of.
func (s *Snapshotter) keepPartners(ctx context.Context, key string, made madeCopy) error {
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
	return s.settlers.partners.copied(n, made.from, made.alone)
}
