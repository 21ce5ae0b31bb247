package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// served is a tree that the fuse driver serves. It holds its layers. It stays
// for as long as it is mounted or the kernel remembers its root directory,
// which below an overlay is longer.
type served struct {
	*inodes
	mounted bool
	// lookups of the root that the kernel was answered and that it has not
	// taken back by a FORGET. After a takeover it may be more; the kernel
	// takes all back at once.
	lookups uint64
	polled  bool // somebody waits for the kernel to forget it
}

// addTree lets t be seen. Its layers are exported. known is whether the kernel
// may remember it from before a takeover.
func (e *export) addTree(t *inodes, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[t.number]
	if s == nil {
		s = &served{}
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

// dropTree ends that a tree is mounted.
func (e *export) dropTree(number uint32) error {
	return e.dropLayers(e.endTree(number, func(s *served) { s.mounted = false }))
}

// forgotten notes that the kernel took n lookups of a tree's root back.
func (e *export) forgotten(number uint32, n uint64) {
	for _, l := range e.endTree(number, func(s *served) { s.lookups -= min(n, s.lookups) }) {
		e.closed(uint32(l.Number()), e.dropLayers([]Layer{l}))
	}
}

// endTree lets less take something from a tree. If nothing is left it returns
// the tree's layers, which are the caller's to drop.
func (e *export) endTree(number uint32, less func(*served)) []Layer {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s == nil {
		return nil
	}
	less(s)
	if s.mounted || s.lookups > 0 {
		return nil
	}
	delete(e.mu.trees, number)
	return s.layers
}

// lingers is true for the one who is to wait for the kernel to forget a tree.
func (e *export) lingers(number uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s == nil || s.mounted || s.polled {
		return false
	}
	s.polled = true
	return true
}

// lingering is true for as long as he has to wait.
func (e *export) lingering(number uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.mu.trees[number]
	if s != nil && s.mounted {
		s.polled = false
	}
	return s != nil && !s.mounted
}

// tree returns nil if there is no such tree.
func (e *export) tree(ctx context.Context, number uint32) *inodes {
	return soon(ctx, e, func() *inodes {
		if s := e.mu.trees[number]; s != nil {
			return s.inodes
		}
		return nil
	})
}

// lookedUp is tree for a lookup of its root.
func (e *export) lookedUp(number uint32) *inodes {
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

// inTree finds an inode of a tree. ESTALE is for one that the kernel still
// knows though its tree is gone.
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
