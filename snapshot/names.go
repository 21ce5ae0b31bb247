package snapshot

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/stack"
)

// spaceLabel, followed by a namespace, is a label of a remote snapshot that a client of
// that namespace has asked for.
const spaceLabel = ownPrefix + "namespace."

// cutKey splits a key as containerd's metadata makes it of a client's
// (core/metadata, createKey): NAMESPACE/NUMBER/KEY. A namespace has no slash.
func cutKey(key string) (space, name string, ok bool) {
	space, rest, ok := strings.Cut(key, "/")
	if !ok {
		return "", key, false
	}
	count, name, ok := strings.Cut(rest, "/")
	if _, err := strconv.ParseUint(count, 10, 64); !ok || err != nil || space == "" {
		return "", key, false
	}
	return space, name, true
}

// find returns the chain of the committed snapshot that a client calls name, if the key of
// the client's Prepare is caller; without a name it is empty. Behind containerd's metadata,
// which passes on keys of its own, it is the newest snapshot of the same namespace: older
// ones are about to be collected. Snapshots of other namespaces are not found, except for
// remote snapshots that a client of the namespace has asked for, too. It needs the
// transaction of all.
func (s *Snapshotter) find(ctx context.Context, all chains, caller, name string) (stack.Chain, error) {
	if chain, ok := all.byName[name]; ok || name == "" {
		return chain, nil
	}
	var id number
	var newest snapshots.Info
	for _, key := range s.clientKeys.of(name) {
		stored, info, _, err := storage.GetInfo(ctx, key)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n := numberOf(stored); n > id && isCalled(info, caller, name) {
			id, newest = n, info
		}
	}
	switch {
	case id == 0:
		return nil, fmt.Errorf("snapshot %q, which the labels name: %w", name, errdefs.ErrNotFound)
	case newest.Kind != snapshots.KindCommitted:
		return nil, fmt.Errorf("snapshot %q, which the labels name, is not committed: %w", name, errdefs.ErrFailedPrecondition)
	}
	chain, err := all.add(ctx, id, newest)
	all.byName[name] = chain
	return chain, err
}

// isCalled reports whether clients of the caller's namespace call a snapshot name. The keys
// of remote snapshots come from images, and can look like keys of any namespace.
func isCalled(info snapshots.Info, caller, name string) bool {
	space, _, spaced := cutKey(caller)
	if !spaced {
		return info.Name == name
	}
	if _, remote := layerOf(info); remote {
		return info.Labels[spaceLabel+space] != "" && info.Labels[snapshots.LabelSnapshotRef] == name
	}
	owner, own, spaced := cutKey(info.Name)
	return spaced && owner == space && own == name
}
