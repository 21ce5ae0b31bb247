package fs

import (
	"path/filepath"

	"github.com/ladle-dev/ladle/store"
)

// Shown returns what the tree shows that is mounted at path, where Mount has mounted it; ok is
// false if no tree is, as at the path of a clone with other owners. path may lead through symbolic
// links, but does not end with one.
func (f *FileSystem) Shown(path string) (spec store.Spec, ok bool) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil || dir != f.treesDir() {
		return store.Spec{}, false
	}
	target := filepath.Join(dir, filepath.Base(path))
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.mu.mounts {
		if p, tree := m.shown.(*plan); tree && len(m.owners) > 0 && p.target == target {
			return p.spec.Clone(), true
		}
	}
	return store.Spec{}, false
}
