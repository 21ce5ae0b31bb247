package layer

import (
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// Trees that were used lately are kept for those who make tree images of
// them: a pull makes one over all layers soon after it opened them.
const (
	treesKept    = 256
	treeLifetime = 30 * time.Second
)

// trees are the trees that were made lately. They all go when none was made
// for treeLifetime.
type trees struct {
	*lru.Cache[store.ID, *tree.Inode]
	purge *time.Timer
}

func newTrees() trees {
	c, err := lru.New[store.ID, *tree.Inode](treesKept)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return trees{c, time.AfterFunc(treeLifetime, c.Purge)}
}

func (t trees) add(id store.ID, root *tree.Inode) {
	t.Add(id, root)
	t.purge.Reset(treeLifetime)
}

// tree returns the tree of a layer of the store.
func (s *Set) tree(data *store.Layer) (*tree.Inode, error) {
	if root, ok := s.trees.Get(data.ID()); ok {
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
	s.trees.add(data.ID(), root)
	return root, nil
}
