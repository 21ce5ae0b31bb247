package index

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/tree"
)

// contents are the bytes of a layer's regular files as its TOC describes them.
type contents struct {
	payload int64   // bytes of the blob in which streams may lie
	memory  *budget // for files and pieces
	files   []file  // that have bytes, in the order of the TOC
	pieces  []piece // those of a file one after the other
	open    bool    // whether pieces may be added to the last file
}

// file is a regular file that has bytes.
type file struct {
	inode  *tree.Inode // nil if the file is not in the tree
	name   string
	size   int64
	digest [sha256.Size]byte // of all its bytes, if sealed
	sealed bool
	end    int64 // where its last stream ends in the blob; 0 if unknown
	first  int   // its first piece
	next   int   // the piece behind its last
}

// piece is a chunk where the TOC has it.
type piece struct {
	blob, inner int64 // BlobOffset and InnerOffset of the chunk
	off, size   int64 // bytes in the file
	digest      [sha256.Size]byte
	sealed      bool // whether there is a digest
	zeros       bool // said to hold nothing else
}

// maxInner is a bound for the bytes of a stream.
const maxInner = 1 << 40

// maxFile is a bound for the bytes of a file and of a data file: EROFS
// addresses 2^32 blocks of a device (fs/erofs/erofs_fs.h).
const maxFile = 1 << 43

// begin starts a file with its first piece. A file without bytes has none.
func (c *contents) begin(e *entry) error {
	if e.Size < 0 || e.Size > maxFile {
		return fmt.Errorf("size %d", e.Size)
	}
	if e.Size == 0 {
		return nil
	}
	if err := c.memory.spend(costFile + textCost(len(e.Name))); err != nil {
		return err
	}
	f := file{name: e.Name, size: e.Size, end: e.EndOffset, first: len(c.pieces), next: len(c.pieces)}
	if e.ChunkDigest == "" && e.Digest != "" {
		var err error
		if f.digest, err = parseDigest(e.Digest); err != nil {
			return err
		}
		f.sealed = true
	}
	c.files, c.open = append(c.files, f), true
	return c.more(e)
}

// more adds a piece to the file that was begun last.
func (c *contents) more(e *entry) error {
	if !c.open {
		return errors.New("chunk of no file")
	}
	f := &c.files[len(c.files)-1]
	if e.Name != f.name && e.Name != "" {
		return fmt.Errorf("chunk of another file than %.300q", f.name)
	}
	p, err := c.newPiece(e, f.size)
	if err != nil {
		return err
	}
	var end int64 // of the pieces so far
	if f.next > f.first {
		last := c.pieces[f.next-1]
		end = last.off + last.size
	}
	if p.off != end {
		return fmt.Errorf("chunk at %d of the file, after %d", p.off, end)
	}
	if err := c.memory.spend(costPiece); err != nil {
		return err
	}
	c.pieces = append(c.pieces, p)
	f.next++
	return nil
}

// newPiece reads the piece that e describes, of a file of size bytes.
func (c *contents) newPiece(e *entry, size int64) (piece, error) {
	p := piece{blob: e.Offset, inner: e.InnerOffset, off: e.ChunkOffset, size: e.ChunkSize}
	if p.size == 0 { // to the end of the file
		p.size = size - p.off
	}
	if p.off < 0 || p.size <= 0 || p.size > size-p.off {
		return p, fmt.Errorf("chunk of %d bytes at %d of a file of %d", p.size, p.off, size)
	}
	if p.blob < 0 || p.blob >= c.payload {
		return p, fmt.Errorf("chunk at %d of a payload of %d bytes", p.blob, c.payload)
	}
	if p.inner < 0 || p.inner > maxInner {
		return p, fmt.Errorf("chunk at %d of its stream", p.inner)
	}
	switch e.ChunkType {
	case "":
	case "zeros":
		p.zeros = true
	default:
		return p, fmt.Errorf("chunk of type %.300q", e.ChunkType)
	}
	var err error
	if e.ChunkDigest != "" {
		p.sealed = true
		p.digest, err = parseDigest(e.ChunkDigest)
	}
	return p, err
}

// finish ends the file that was begun last: all its bytes must be in pieces,
// and all pieces must have digests. Where there is only one piece the digest
// of the file is that of the piece.
func (c *contents) finish() error {
	if !c.open {
		return nil
	}
	c.open = false
	f := &c.files[len(c.files)-1]
	pieces := c.pieces[f.first:f.next]
	last := &pieces[len(pieces)-1]
	if end := last.off + last.size; end != f.size {
		return fmt.Errorf("%.300q has chunks for %d bytes of %d", f.name, end, f.size)
	}
	if len(pieces) == 1 && !last.sealed {
		last.digest, last.sealed = f.digest, f.sealed
	}
	for i := range pieces {
		if p := &pieces[i]; !p.sealed && !p.zeros {
			return fmt.Errorf("%.300q has no digest for its bytes from %d", f.name, p.off)
		}
	}
	return nil
}

// placed says that the file that was begun last, if any, is inode.
func (c *contents) placed(inode *tree.Inode) {
	if c.open {
		c.files[len(c.files)-1].inode = inode
	}
}

// blobOffset returns where the bytes of inode start in the blob, 0 if it has
// none.
func (c *contents) blobOffset(inode *tree.Inode) int64 {
	for _, f := range c.files {
		if f.inode == inode {
			return c.pieces[f.first].blob
		}
	}
	return 0
}

func parseDigest(s string) (sum [sha256.Size]byte, err error) {
	text, ok := strings.CutPrefix(s, string(digest.SHA256)+":")
	if !ok || len(text) != hex.EncodedLen(len(sum)) {
		return sum, fmt.Errorf("digest %.300q", s)
	}
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		return sum, fmt.Errorf("digest %q: %w", s, err)
	}
	return sum, nil
}

// align returns the least multiple of the block size that is not below n.
func align(n int64) int64 {
	return (n + tree.BlockSize - 1) &^ (tree.BlockSize - 1)
}
