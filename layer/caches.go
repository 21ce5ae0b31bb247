package layer

import (
	"runtime/debug"
	"time"

	"github.com/ladle-dev/ladle/lru"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

const (
	// treesMemory bounds the bytes of memory of the cached trees. All are dropped if
	// none was added for treeLifetime.
	treesMemory  = 256 << 20
	treeLifetime = 30 * time.Second

	// maxFiles bounds the layers with cached files: some tens of kilobytes for each.
	maxFiles = 128

	// chunksMemory bounds the bytes of the cached chunks. All are dropped if none was
	// added for stateLifetime; then the disk is tried again.
	chunksMemory = 32 << 20
)

// caches are in memory, for all layers of a set. The newest tree and the newest chunk are
// cached even if they are larger than the bound.
type caches struct {
	// trees are recently decoded ones, for tree images: after a pull has opened the
	// layers of an image, a tree image over all of them is made.
	trees *lru.Sized[store.ID, *tree.Inode]
	// files are those of recently read layers.
	files *lru.Concurrent[store.ID, files]
	// chunks are the newest of those that the disk does not take: see diskState. Their
	// bytes are not changed.
	chunks *lru.Sized[chunkID, []byte]
	// claims are those about recently opened layers.
	claims *lru.Concurrent[store.ID, *claims]
	// heap returns the memory of what is dropped.
	heap heap
}

type chunkID struct {
	layer uint64 // its number
	n     int
}

func newCaches() caches {
	return caches{
		trees:  lru.NewSized[store.ID, *tree.Inode](treesMemory, treeLifetime),
		files:  lru.NewConcurrent[store.ID, files](maxFiles),
		chunks: lru.NewSized[chunkID, []byte](chunksMemory, stateLifetime),
		claims: lru.NewConcurrent[store.ID, *claims](maxClaimed),
		heap:   newHeap(heapDelay, debug.FreeOSMemory),
	}
}

// addTree caches the tree of a layer.
func (c *caches) addTree(id store.ID, root *tree.Inode) {
	c.trees.Add(id, root, tree.Memory(root))
	c.heap.used()
}

// stop ends the timers.
func (c *caches) stop() {
	c.trees.Stop()
	c.chunks.Stop()
	c.heap.stop()
}
