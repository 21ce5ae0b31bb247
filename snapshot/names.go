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
	count, name, ok := strings.Cut(rest, "/")
	if _, err := strconv.ParseUint(count, 10, 64); !ok || err != nil || space == "" {
		return "", key, false
	}
	return space, name, true
}

// found is a snapshot that a client named.
type found struct {
	id  number
	key string
}

// find returns the committed snapshots that a client calls by names, if the
// client's Prepare has the key caller. Behind containerd's metadata, which tells
// us keys of its own, it is the newest snapshot of the same namespace: older
// ones are about to be collected. Others are not found, except for remote
// snapshots that a client of the namespace has asked for, too. It needs a
// transaction.
func (s *Snapshotter) find(ctx context.Context, caller string, names map[string]bool) (map[string]found, error) {
	all := map[string]found{}
	for name := range names {
		f, kind, err := s.findOne(ctx, caller, name)
		if err != nil {
			return nil, err
		}
		switch {
		case f.id == 0:
			return nil, fmt.Errorf("snapshot %q of a merge: %w", name, errdefs.ErrNotFound)
		case kind != snapshots.KindCommitted:
			return nil, fmt.Errorf("snapshot %q of a merge is not committed: %w", name, errdefs.ErrFailedPrecondition)
		}
		all[name] = f
	}
	return all, nil
}

// findOne is find for one name, whatever kind of snapshot it is.
func (s *Snapshotter) findOne(ctx context.Context, caller, name string) (newest found, kind snapshots.Kind, err error) {
	for _, key := range s.known.of(name) {
		id, info, _, err := storage.GetInfo(ctx, key)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return found{}, 0, err
		}
		if n := numberOf(id); isCalled(info, caller, name) && n > newest.id {
			newest, kind = found{n, key}, info.Kind
		}
	}
	return newest, kind, nil
}

// isCalled reports whether name is what clients of the caller's namespace call a
// snapshot. The keys of remote snapshots are what images claim, and can look like
// those of any namespace.
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
