package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// servedTree is a tree that the fuse driver serves. It exists while mounted or lookups >
// 0; lookups can be more than zero long after the unmount, below an overlay.
type servedTree struct {
	*inodes
	mounted bool
	// lookups is the number of lookups of the root that were answered and not undone
	// by FORGET. After a takeover it is a lower bound; one FORGET of the kernel then
	// undoes them all.
	lookups    uint64
	forgetting bool // forgetTree polls until the kernel has forgotten the tree
}

// addTree serves t. Its layers are exported. known: the kernel may have lookups of the
// root from before a takeover.
func (e *export) addTree(t *inodes, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[t.number]
	if s == nil {
		s = &servedTree{}
		e.mu.trees[t.number] = s
		for _, l := range t.layers {
			e.mu.data[uint32(l.Number())].trees++
		}
	}
	s.inodes, s.mounted = t, true
	if known && s.lookups == 0 {
		s.lookups = 1
	}
	e.addedLocked()
}

// dropTree records that a tree is not mounted any more.
func (e *export) dropTree(number uint32) error {
	return e.dropLayers(e.releaseTree(number, func(s *servedTree) { s.mounted = false }))
}

// forgotten records that the kernel undid n lookups of a tree's root.
func (e *export) forgotten(number uint32, n uint64) {
	for _, l := range e.releaseTree(number, func(s *servedTree) { s.lookups -= min(n, s.lookups) }) {
		e.logClose(uint32(l.Number()), e.dropLayers([]Layer{l}))
	}
}

// releaseTree applies release, which lowers a count of a tree. If the tree ends by that,
// it returns the tree's layers, which the caller must drop.
func (e *export) releaseTree(number uint32, release func(*servedTree)) []Layer {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s == nil {
		return nil
	}
	release(s)
	if s.mounted || s.lookups > 0 {
		return nil
	}
	delete(e.mu.trees, number)
	return s.layers
}

// startForgetting reports whether the caller is to poll until the kernel has forgotten a
// tree: the tree is not mounted, but remembered, and no other call polls.
func (e *export) startForgetting(number uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s == nil || s.mounted || s.forgetting {
		return false
	}
	s.forgetting = true
	return true
}

// remembered reports whether the poll of startForgetting must go on. It ends when the
// tree is forgotten or mounted again.
func (e *export) remembered(number uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s != nil && s.mounted {
		s.forgetting = false
	}
	return s != nil && !s.mounted
}

// tree returns a tree, or nil if the export does not have it.
func (e *export) tree(ctx context.Context, number uint32) *inodes {
	return findOrWait(ctx, e, func() *inodes {
		if s := e.mu.trees[number]; s != nil {
			return s.inodes
		}
		return nil
	})
}

// lookupTree is tree for a lookup of its root, which it counts.
func (e *export) lookupTree(number uint32) *inodes {
	if e.tree(e.lifetime, number) == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s == nil {
		return nil
	}
	s.lookups++
	return s.inodes
}

// inTree finds an inode of a tree. The status is ESTALE for an inode that the kernel has
// cached although its tree was dropped.
func (e *export) inTree(ctx context.Context, id uint64) (*inodes, uint32, fuse.Status) {
	number, inode, ok := nodeOf(id)
	if !ok {
		return nil, 0, fuse.ENOENT
	}
	t := e.tree(ctx, number)
	if t == nil || !t.has(inode) {
		return nil, 0, fuse.Status(unix.ESTALE)
	}
	return t, inode, fuse.OK
}
