package layer

import (
	"fmt"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// tree returns the tree of a layer of the store.
func (s *Set) tree(data *store.Layer) (*tree.Inode, error) {
	if root, ok := s.caches.trees.Get(data.ID()); ok {
		return root, nil
	}
	b, err := data.Entries()
	if err != nil {
		return nil, err
	}
	root, err := index.DecodeTree(b)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", data.ID().Blob, data.Damaged(err))
	}
	s.caches.addTree(data.ID(), root)
	return root, nil
}
