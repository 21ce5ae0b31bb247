package index

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/ladle-dev/ladle/tree"
)

// What a TOC may make of its bytes: see the package's documentation.
const (
	memoryFloor = 32 << 20 // bytes of memory that any TOC may take
	memoryRatio = 64       // and for each of its compressed bytes
	maxMemory   = 1 << 30  // bytes at most
	textFloor   = 4 << 20  // bytes of JSON that any TOC may have
	textRatio   = 1024     // and for each of its compressed bytes: what gzip reaches
)

// What things cost in bytes of memory, rounded up: tests compare these with the
// heap of Go 1.26 on 64 bits.
const (
	costInode = 208 // with its entry in a directory
	costDir   = 32  // more, of a directory
	costNames = 208 // more, of a directory that has any entries
	costFile  = 192 // a file in contents, and where its stream ends
	costPiece = 256 // a piece, with what is copied while there are more and more, and its chunk
	costXattr = 128
)

// Memory returns the most bytes of memory that Parse takes for a TOC of size
// compressed bytes, working memory of about 10 MB not counted. It includes the
// index that it returns.
func Memory(size int64) int64 {
	if size >= (maxMemory-memoryFloor)/memoryRatio {
		return maxMemory
	}
	return memoryFloor + memoryRatio*max(size, 0)
}

// budget is what the index of a TOC may take in memory, which grows as the TOC
// is read. A nil budget is without bounds.
type budget struct {
	spent int64
	limit func() int64
}

// spend accounts for n bytes that are about to be kept.
func (b *budget) spend(n int64) error {
	if b == nil {
		return nil
	}
	b.spent += n
	if b.spent <= memoryFloor {
		return nil
	}
	if limit := b.limit(); b.spent > limit {
		return fmt.Errorf("the index would take more than %d MiB of memory, too much for what was fetched", limit>>20)
	}
	return nil
}

// spendEntry accounts for an inode that gets its first name, in dir, but for its
// extended attributes.
func (b *budget) spendEntry(dir *tree.Dir, name string, inode *tree.Inode) error {
	n := costInode + textCost(len(name)) + textCost(len(inode.Target))
	if dir.Len() == 0 {
		n += costNames
	}
	if inode.IsDir() {
		n += costDir
	}
	return b.spend(n)
}

// textCost is what n bytes of text cost besides: the heap has room for up to an
// eighth more.
func textCost(n int) int64 { return int64(n + n/8) }

// xattrsCost is what extended attributes cost.
func xattrsCost[T string | []byte](xattrs map[string]T) (n int64) {
	for name, value := range xattrs {
		n += costXattr + textCost(len(name)) + textCost(len(value))
	}
	return n
}

// counter counts what is read. The count may be asked for by another goroutine.
type counter struct {
	r io.Reader
	n atomic.Int64 // bytes
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// memory returns what may be kept in memory of what was read so far.
func (c *counter) memory() int64 { return Memory(c.n.Load()) }

// text is the document of a TOC. It is read up to the size to which its compressed bytes
// may inflate.
type text struct {
	r    io.Reader
	toc  *counter
	read int64 // bytes
}

func (t *text) Read(p []byte) (int, error) {
	if t.read > min(maxTOCJSON+1<<20, textFloor+textRatio*t.toc.n.Load()) {
		return 0, fmt.Errorf("too large for its %d compressed bytes", t.toc.n.Load())
	}
	n, err := t.r.Read(p)
	t.read += int64(n)
	return n, err
}
