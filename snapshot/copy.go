package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/stack"
)

// prepareCopy makes an active snapshot that has, above its parent, a copy of what another
// snapshot shows at a path: links to its files. The transaction that makes the snapshot
// moves the links into its directory, and stores a label with the snapshots of which it
// has files.
func (s *Snapshotter) prepareCopy(ctx context.Context, m making, r merge.CopyRequest) ([]mount.Mount, error) {
	if !s.opts.Settle {
		return nil, fmt.Errorf("copy %q: equal files are not to be stored once: %w", m.key, errdefs.ErrNotImplemented)
	}
	if !m.ids.IsNone() {
		return nil, fmt.Errorf("copy %q: the owners of files that are links cannot be mapped: %w", m.key, errdefs.ErrNotImplemented)
	}
	var request stack.Copy
	call, err := s.planner.Begin(func(call *stack.Call) (err error) {
		request, err = s.readCopy(ctx, m, r)
		call.Pin(request.Parent)
		call.Pin(request.Source)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer call.End(ctx)
	if m.upper, err = call.Copy(ctx, request); err != nil {
		return nil, fmt.Errorf("copy %q: %w", m.key, err)
	}
	m.chain, m.runs = request.Parent, false
	if m.labels == nil {
		m.labels = map[string]string{}
	}
	m.labels[merge.CopiedLabel] = copiedLabel(m.upper.Copied)
	return s.create(ctx, m)
}

// readCopy finds the snapshots of a copy, in one transaction.
func (s *Snapshotter) readCopy(ctx context.Context, m making, r merge.CopyRequest) (stack.Copy, error) {
	request := stack.Copy{Request: r}
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		all := newChains()
		if request.Source, err = s.find(ctx, all, m.key, r.From); err != nil {
			return err
		}
		request.Parent, err = all.read(ctx, m.parent)
		return err
	})
	return request, err
}

// The first word in the value of the label of a copy. The numbers of the snapshots that it
// has links to follow. Earlier versions wrote the partners of these, too, after labelShared.
const (
	labelShared = "copy"
	labelSingle = "single" // settle.Copied.Single
)

func copiedLabel(c settle.Copied) string {
	fields := []string{labelShared}
	if c.Single {
		fields[0] = labelSingle
	}
	for _, id := range c.From.List() {
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
