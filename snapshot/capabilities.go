package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// Capabilities of a snapshotter (containerd 2.4.2: core/snapshots, RebaseCap;
// client/snapshotter_opts_unix.go) are declared in containerd's configuration:
//
//	[proxy_plugins.ladle]
//	  capabilities = ["rebase", "remap-ids"]
//
// containerd does not ask the snapshotter whether it has them, and acts upon them.
// Ladle wants none: with rebase no layer but the lowest can be lazy. It does what
// overlayfs does then, and refuses what it would do wrongly. Such an error is
// ErrFailedPrecondition: containerd's client of the transfer service replaces
// ErrNotImplemented by one of its own.

// parentChainLabel is what containerd's unpacker sends with each layer but the
// lowest (since containerd 2.3; core/unpack, labelSnapshotParent).
const parentChainLabel = labelPrefix + "parent-chain-id"

// Labels of snapshots, which no client can set.
const (
	// orphanLabel is of an active snapshot that a layer is unpacked into
	// without its parent, which is to be named when it is committed.
	orphanLabel = ownPrefix + "orphan"
	// remappedLabel is of a committed snapshot whose files a client has given
	// to the ids of a user namespace.
	remappedLabel = ownPrefix + "remapped"
)

// declared is the end of a message about what a capability has led to.
func declared(capability string) string {
	return fmt.Sprintf("remove %q from the capabilities of ladle's proxy plugin in the configuration of containerd", capability)
}

// errOrphan says why a layer that is prepared without its parent is not lazy: a
// remote snapshot is there as soon as it is prepared, and then must have its parent
// (core/metadata, createSnapshot).
var errOrphan = fmt.Errorf("containerd unpacks it before those below it: %s", declared(snapshots.RebaseCap))

// isOrphan reports whether a layer is prepared without the one below it ("rebase").
// The target is the layer's chain ID (OCI image specification, config.md, "Layer
// ChainID"), so annotations of the image cannot make the lowest layer look so.
func isOrphan(parent string, labels map[string]string) bool {
	below, diffID := labels[parentChainLabel], labels[snapshots.LabelSnapshotDiffID]
	return parent == "" && below != "" && labels[snapshots.LabelSnapshotRef] == digest.FromString(below+" "+diffID).String()
}

// checkParent returns an error for a commit that gives the snapshot key a parent
// that it cannot have, or leaves it without the parent that it needs: a layer that was
// unpacked for a parent has its whiteouts, and any other layer has none. It needs a
// transaction.
func checkParent(ctx context.Context, key, parent string) error {
	_, info, _, err := storage.GetInfo(ctx, key)
	if errdefs.IsNotFound(err) {
		return nil // what is wrong is for the commit to say
	}
	if err != nil {
		return err
	}
	_, orphan := info.Labels[orphanLabel]
	switch {
	case orphan && parent == "":
		return fmt.Errorf("it was prepared as a part of a chain, and has no parent: %w", errdefs.ErrFailedPrecondition)
	case !orphan && parent != "" && parent != info.Parent:
		return fmt.Errorf("it was prepared over %q and is to be put over %q, which ladle cannot do: %s: %w",
			info.Parent, parent, declared(snapshots.RebaseCap), errdefs.ErrFailedPrecondition)
	}
	return nil
}

// refuseMapping returns an error if the ids in parent are to be mapped to those
// that labels say ("remap-ids"). A client that maps them itself sends the same labels, with
// a parent in which it has changed the owners of files to these ids.
func (s *Snapshotter) refuseMapping(ctx context.Context, parent string, labels map[string]string) error {
	uids, gids := labels[snapshots.LabelSnapshotUIDMapping], labels[snapshots.LabelSnapshotGIDMapping]
	if isIdentity(uids) && isIdentity(gids) {
		return nil
	}
	remapped := false
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		if parent == "" {
			return nil
		}
		_, info, _, err := storage.GetInfo(ctx, parent)
		remapped = info.Labels[remappedLabel] != ""
		return err
	})
	if errdefs.IsNotFound(err) || remapped {
		return nil // that there is no parent is for the caller to say
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("user ids (%s) and group ids (%s) are to be mapped, which ladle cannot do: %s: %w",
		uids, gids, declared("remap-ids"), errdefs.ErrFailedPrecondition)
}

// isIdentity reports whether a mapping, ranges CONTAINER:HOST:SIZE separated by
// commas, leaves all ids as they are.
func isIdentity(mapping string) bool {
	if mapping == "" {
		return true
	}
	for ids := range strings.SplitSeq(mapping, ",") {
		fields := strings.Split(ids, ":")
		if len(fields) != 3 || fields[0] != fields[1] {
			return false
		}
	}
	return true
}

// markRemapped returns the labels of the snapshot that key is committed as, with
// remappedLabel if its files were given to the ids of a user namespace:
// containerd's client prepares it under its later name and "-remap"
// (client/snapshotter_opts_unix.go, resolveSnapshotOptions).
func markRemapped(name, key string, labels map[string]string) map[string]string {
	_, name, _ = cutKey(name)
	_, key, _ = cutKey(key)
	if key != name+"-remap" {
		return labels
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[remappedLabel] = "true"
	return labels
}
