package layer

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

const (
	// treesMemory bounds the bytes of memory of the cached trees. The newest tree is
	// cached even if it is larger.
	treesMemory = 256 << 20

	treeLifetime = 30 * time.Second
)

// trees caches recently decoded trees, for tree images: after a pull has opened the
// layers of an image, a tree image over all of them is made. All are dropped if none was
// added for treeLifetime.
type trees struct {
	purge *time.Timer
	mu    struct {
		sync.Mutex
		made  *simplelru.LRU[store.ID, madeTree]
		bytes int64 // of all trees in made
	}
}

type madeTree struct {
	root  *tree.Inode
	bytes int64
}

func newTrees() *trees {
	t := new(trees)
	// The bound is treesMemory; the number of trees is smaller.
	made, err := simplelru.NewLRU(treesMemory, func(_ store.ID, m madeTree) { t.mu.bytes -= m.bytes })
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	t.mu.made = made
	t.purge = time.AfterFunc(treeLifetime, t.forget)
	return t
}

func (t *trees) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.made.Purge()
}

func (t *trees) add(id store.ID, root *tree.Inode) {
	m := madeTree{root, tree.Memory(root)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.made.Remove(id)
	t.mu.made.Add(id, m)
	t.mu.bytes += m.bytes
	for t.mu.bytes > treesMemory && t.mu.made.Len() > 1 {
		t.mu.made.RemoveOldest()
	}
	t.purge.Reset(treeLifetime)
}

func (t *trees) get(id store.ID) (*tree.Inode, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.mu.made.Get(id)
	return m.root, ok
}

// tree returns the tree of a layer of the store.
func (s *Set) tree(data *store.Layer) (*tree.Inode, error) {
	if root, ok := s.trees.get(data.ID()); ok {
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
