package snapshot

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// spaceLabel and a namespace make a label of a remote snapshot that a client of
// that namespace has asked for.
const spaceLabel = ownPrefix + "namespace."

// cutKey splits a key as containerd's metadata makes it of a client's
// (core/metadata, createKey): NAMESPACE/NUMBER/KEY. A namespace has no slash.
func cutKey(key string) (space, name string, ok bool) {
	space, rest, ok := strings.Cut(key, "/")
	if !ok {
		return "", key, false
	}
	number, name, ok := strings.Cut(rest, "/")
	if _, err := strconv.ParseUint(number, 10, 64); !ok || err != nil || space == "" {
		return "", key, false
	}
	return space, name, true
}

// found is a snapshot that a client named.
type found struct {
	id, key string
}

// find returns the committed snapshots that a client calls by names, if the
// client's Prepare has the key caller. Behind containerd's metadata, which tells
// us keys of its own, it is the newest snapshot of the same namespace: older
// ones are about to be collected. Others are not found, except for remote
// snapshots that a client of the namespace has asked for, too. It needs a
// transaction.
func find(ctx context.Context, caller string, names map[string]bool) (map[string]found, error) {
	keys, err := storage.IDMap(ctx)
	if err != nil {
		return nil, err
	}
	space, _, spaced := cutKey(caller)
	all := map[string]found{}
	for id, key := range keys {
		name := key
		if spaced {
			if name, err = nameIn(ctx, space, key, names); err != nil {
				return nil, err
			}
		}
		if names[name] && (all[name].id == "" || newer(id, all[name].id)) {
			all[name] = found{id, key}
		}
	}
	for name := range names {
		if all[name].id == "" {
			return nil, fmt.Errorf("snapshot %q of a merge: %w", name, errdefs.ErrNotFound)
		}
		_, info, _, err := storage.GetInfo(ctx, all[name].key)
		if err != nil {
			return nil, err
		}
		if info.Kind != snapshots.KindCommitted {
			return nil, fmt.Errorf("snapshot %q of a merge is not committed: %w", name, errdefs.ErrFailedPrecondition)
		}
	}
	return all, nil
}

// nameIn returns by which of names clients of a namespace know a snapshot, or
// nothing. The keys of remote snapshots are what images claim, and can look like
// those of any namespace.
func nameIn(ctx context.Context, space, key string, names map[string]bool) (string, error) {
	owner, name, spaced := cutKey(key)
	target, _, _ := strings.Cut(key, "@")
	if !(spaced && owner == space && names[name]) && !names[target] && !names[key] {
		return "", nil
	}
	_, info, _, err := storage.GetInfo(ctx, key)
	if err != nil {
		return "", err
	}
	_, remote := layerOf(info)
	switch {
	case !remote && spaced && owner == space:
		return name, nil
	case remote && info.Labels[spaceLabel+space] != "":
		return info.Labels[snapshots.LabelSnapshotRef], nil
	default:
		return "", nil
	}
}

// newer compares numbers of snapshots.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}
