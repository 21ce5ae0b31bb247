package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/stack"
)

// prepareCopy makes an active snapshot that has, above parent, a copy of what
// another snapshot shows at a path: links to its files. They are made beside the
// snapshot's directory, which they become in the transaction that makes the
// snapshot; the same transaction stores a label with the snapshots that it has files of.
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
	unlock, err := s.sharing.LockNames(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	made, err := s.makeCopy(ctx, m.parent, pairs[0].upper, r, pin)
	if err != nil {
		return nil, fmt.Errorf("copy %q: %w", m.key, notCopied(err))
	}
	defer func() {
		if err := os.RemoveAll(s.dirs.Diff(made.name)); err != nil {
			log.G(ctx).WithError(err).Warn("a copy that was not made is not deleted")
		}
	}()
	m.copied, m.runs = &made, false
	if m.labels == nil {
		m.labels = map[string]string{}
	}
	m.labels[merge.CopiedLabel] = made.label()
	return s.create(ctx, m)
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
	settle.Copied
}

// makeCopy makes a copy of what source shows, which is pinned and the lowest
// first, to be over parent.
func (s *Snapshotter) makeCopy(ctx context.Context, parent string, source []stack.Lower, r merge.CopyRequest, pin *pinned) (made madeCopy, err error) {
	var below, shown []stack.Lower
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		chain, err := readChain(ctx, parent)
		below, shown = chain.Active(), chain.View()
		return err
	})
	if err != nil {
		return made, err
	}
	pin.add(shown)
	call := fmt.Sprint(s.diffs.next())
	owner := s.owner("copy-" + call)
	defer s.releaseTrees(ctx, owner)
	slices.Reverse(below)
	c := merge.Copying{CopyRequest: r, Lazy: func(i int) bool { return source[len(source)-1-i].IsTree() }}
	if c.Stack, err = s.lowerDirs(ctx, owner, source); err != nil {
		return made, err
	}
	if c.Below, err = s.lowerDirs(ctx, owner, below); err != nil {
		return made, err
	}
	found, err := merge.FindCopy(ctx, c, s.mergeOptions())
	if err != nil {
		return made, err
	}
	var from []stack.Lower
	for _, i := range found.Sources() {
		from = append(from, source[len(source)-1-i])
	}
	sources := stack.Sources(from)
	copied, done, err := s.sharing.Link(settle.Linking{
		// A clean diff that is apart counts as having no inode in common with others.
		From: sources, Below: stack.Sources(shown), Single: s.diffs.hasApart(sources),
	})
	if err != nil {
		return made, fmt.Errorf("%w: %w", err, merge.ErrCopy)
	}
	defer done()
	made = madeCopy{"c" + call, copied}
	pin.addDiff(made.name)
	if err := os.RemoveAll(s.dirs.Diff(made.name)); err != nil { // an earlier process's
		return made, err
	}
	was, err := found.Make(ctx, s.dirs.Diff(made.name), merge.Links{Single: made.Single, Alone: wantsOneName})
	if was.Links == 0 {
		made.From = nil
	}
	log.G(ctx).WithField("source", r.Source).WithField("target", r.Target).
		WithField("links", was.Links).WithField("copies", was.Copies).Debug("copy between snapshots")
	return made, err
}

// wantsOneName is settle.WantsOneName of a path that begins with a slash.
func wantsOneName(path string) bool { return settle.WantsOneName(strings.TrimPrefix(path, "/")) }

// The first word in the value of the label of a copy. The snapshots follow that it has
// links to files of. Earlier versions wrote their partners, too, after labelShared.
const (
	labelShared = "copy"
	labelSingle = "single" // no file that was linked had another name
)

func (m madeCopy) label() string {
	fields := []string{labelShared}
	if m.Single {
		fields[0] = labelSingle
	}
	for _, id := range m.From.List() {
		fields = append(fields, number(id).String())
	}
	return strings.Join(fields, " ")
}

// copiedFrom returns what the label of a copy says, and nil if the snapshot is no copy.
func copiedFrom(info snapshots.Info) (*settle.Copied, error) {
	label, ok := info.Labels[merge.CopiedLabel]
	if !ok {
		return nil, nil
	}
	copied := &settle.Copied{From: hardlink.Sources{}}
	for i, field := range strings.Fields(label) {
		if i == 0 {
			copied.Single = field == labelSingle
			continue
		}
		id, err := parseNumber(field)
		if err != nil {
			return nil, fmt.Errorf("label %s of snapshot %q: %w: %w", merge.CopiedLabel, info.Name, errdefs.ErrDataLoss, err)
		}
		copied.From[uint64(id)] = true
	}
	return copied, nil
}
