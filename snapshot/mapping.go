package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/stack"
)

// A mapped snapshot is an active snapshot or a view for a container in a user namespace. Its
// lowers are mounted as clones that map the owners of files from the ids of the container to
// those of the host (package idmap). Its upper directory is not mapped: what the container
// writes has the ids of the host there, as with overlayfs, and so has a snapshot that is
// committed from it.
//
// containerd's overlayfs returns a mount with the options uidmap and gidmap, for which the
// client makes a clone of the directory that all lowerdirs have in common (containerd 2.4,
// core/mount/mount_linux.go). Ladle returns the paths of its own clones, without these
// options: trees are reached through a link (throughLink), which leads out of such a clone.

// mappingLabel is of a mapped snapshot; no client can set it. The value is mappingFormat and
// the two texts of its mapping, separated by spaces.
const mappingLabel = ownPrefix + "mapping"

const mappingFormat = 1

// mappingLabelOf returns the value of mappingLabel.
func mappingLabelOf(ids idmap.Mapping) string { return fmt.Sprint(mappingFormat, " ", ids) }

// mappingOf returns the mapping of a stored snapshot, the zero Mapping if it is not mapped.
func mappingOf(info snapshots.Info) (idmap.Mapping, error) {
	value, ok := info.Labels[mappingLabel]
	if !ok {
		return idmap.Mapping{}, nil
	}
	format, texts, _ := strings.Cut(value, " ")
	version, err := strconv.ParseUint(format, 10, 64)
	if err == nil && version > mappingFormat {
		return idmap.Mapping{}, fmt.Errorf("mapping of snapshot %q: %w", info.Name, durable.LaterFormat(version, mappingFormat))
	}
	var ids idmap.Mapping
	if err == nil {
		users, groups, _ := strings.Cut(texts, " ")
		ids, err = idmap.Parse(users, groups)
	}
	if err != nil {
		return idmap.Mapping{}, fmt.Errorf("mapping of snapshot %q: %w: %w", info.Name, errdefs.ErrDataLoss, err)
	}
	return ids, nil
}

// wantedMapping returns how the owners of files in parent are to be mapped for a snapshot with
// the labels of a client; the zero Mapping if they are not. The error is ErrInvalidArgument for
// what is no mapping, and ErrFailedPrecondition if owners cannot be mapped.
//
// A client that has no declared capability maps them itself, in a parent of its own, and sends
// the same labels (capabilities.go, markRemapped).
func (s *Snapshotter) wantedMapping(ctx context.Context, parent string, labels map[string]string) (idmap.Mapping, error) {
	users, groups := labels[snapshots.LabelSnapshotUIDMapping], labels[snapshots.LabelSnapshotGIDMapping]
	if users == "" && groups == "" {
		return idmap.Mapping{}, nil
	}
	if done, err := s.isRemapped(ctx, parent); done || err != nil {
		return idmap.Mapping{}, err
	}
	ids, err := idmap.Parse(users, groups)
	if err != nil {
		return idmap.Mapping{}, fmt.Errorf("labels of a user namespace: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	if ids.IsNone() {
		return idmap.Mapping{}, nil
	}
	if err := s.opts.Trees.CanMap(); err != nil {
		return idmap.Mapping{}, fmt.Errorf("user ids (%s) and group ids (%s) are to be mapped: %w: %s: %w",
			users, groups, err, declared("remap-ids"), errdefs.ErrFailedPrecondition)
	}
	return ids, nil
}

// isRemapped reports whether a client has mapped the owners in parent. That parent does not
// exist is for the caller to say.
func (s *Snapshotter) isRemapped(ctx context.Context, parent string) (remapped bool, err error) {
	if parent == "" {
		return false, nil
	}
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		_, info, _, err := storage.GetInfo(ctx, parent)
		remapped = info.Labels[remappedLabel] != ""
		return err
	})
	if errdefs.IsNotFound(err) {
		return true, nil
	}
	return remapped, err
}

// mapped makes m a mapped snapshot, if ids is a mapping.
func (m *making) mapped(ids idmap.Mapping) {
	if ids.IsNone() {
		return
	}
	if m.labels == nil {
		m.labels = map[string]string{}
	}
	m.ids, m.labels[mappingLabel] = ids, mappingLabelOf(ids)
}

// mountMapped returns the lowerdirs of a mapped snapshot of which the trees are mounted.
func (s *Snapshotter) mountMapped(ctx context.Context, u usable) (lowerdirs []string, err error) {
	var dirs string // the clone of s.dirs
	if slices.ContainsFunc(u.lowers, func(l stack.Lower) bool { return !l.IsTree() }) {
		if dirs, err = s.opts.Trees.MountDir(ctx, s.ownerOf(u.id), string(s.dirs), u.ids); err != nil {
			return nil, classifyMapped(err)
		}
	}
	for _, l := range u.lowers {
		dir := stack.Dirs(dirs).Lower(l)
		if l.IsTree() {
			if dir, err = s.opts.Trees.MountMapped(ctx, s.ownerOf(u.id), l.Tree, u.ids); err != nil {
				return nil, classifyMapped(err)
			}
		}
		lowerdirs = append(lowerdirs, dir)
	}
	return lowerdirs, nil
}

// classifyMapped gives an error of Clones a class.
func classifyMapped(err error) error {
	if errors.Is(err, idmap.ErrUnsupported) {
		return fmt.Errorf("%w: %s: %w", err, declared("remap-ids"), errdefs.ErrFailedPrecondition)
	}
	return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
}
