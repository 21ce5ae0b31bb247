package snapshot

import (
	"context"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// Layers opens layers, as *layer.Set does. It is used concurrently.
type Layers interface {
	// Open makes the layer that req asks for readable and returns its
	// identity. After an error, layer.ErrNotLazy among them, the layer is left to
	// the ordinary pull. For layers in the store it needs no network.
	Open(ctx context.Context, req layer.Request) (store.ID, error)
	// Offer says that the server of socket lends credentials for the repository
	// of the image ref (package auth).
	Offer(ref, socket string)
	// Starting says that a process is likely to be started over layers. It does not
	// wait.
	Starting(layers []store.ID)
	// Usage returns the bytes and inodes that a layer takes on disk, or
	// store.ErrNotFound.
	Usage(id store.ID) (bytes, inodes int64, err error)
	// Proof returns what was found out of a layer's tar.
	Proof(id store.ID) store.Proof
}

// Trees mounts trees over layers. It is used concurrently; calls for one
// owner are not concurrent with its Release.
type Trees interface {
	// Mount mounts the tree that spec says for owner and returns its path,
	// the same for the same spec at any time. It needs no network. Mounting
	// twice for one owner is the same as once. All layers of spec, Spec.All,
	// are claimed for as long as owner has the tree.
	Mount(ctx context.Context, owner string, spec store.Spec) (string, error)
	// Release ends owner's share in all its trees.
	Release(ctx context.Context, owner string) error
	// Warm makes the tree that spec says ready in the background.
	Warm(spec store.Spec)
	Clones
}

// Clones mounts trees and directories with other owners of their files. Release of Trees
// ends the share in clones, too.
type Clones interface {
	// CanMap returns nil, or why no clone can be mounted.
	CanMap() error
	// MountMapped is Mount for a clone of the tree; the tree is mounted for owner, too.
	MountMapped(ctx context.Context, owner string, spec store.Spec, ids idmap.Mapping) (string, error)
	// MountDir mounts a clone of a directory, without what is mounted below it, for owner,
	// and returns its path, the same for the same arguments at any time. The error is
	// idmap.ErrUnsupported if its filesystem has no such clones.
	MountDir(ctx context.Context, owner, dir string, ids idmap.Mapping) (string, error)
}

// callTrees implements stack.Trees.
type callTrees struct{ s *Snapshotter }

// Mount implements stack.Trees.
func (t callTrees) Mount(ctx context.Context, call string, tree store.Spec) (string, error) {
	return t.s.mountTree(ctx, t.s.owner(call), tree)
}

// Release implements stack.Trees.
func (t callTrees) Release(ctx context.Context, call string) {
	t.s.releaseTrees(ctx, t.s.owner(call))
}
