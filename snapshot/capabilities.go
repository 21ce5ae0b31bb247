package snapshot

import (
	"context"
	"fmt"

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
// Ladle wants remap-ids (mapping.go), and not rebase: with that no layer but the lowest can
// be lazy. It does what overlayfs does then, and refuses what it would do wrongly. Such an
// error is ErrFailedPrecondition: containerd's client of the transfer service replaces
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
