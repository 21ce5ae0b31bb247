package index

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/tree"
)

// A ztoc is SOCI's index of a layer: a FlatBuffer with the headers of the layer's tar, where the
// contents of its files are in the tar, and points, of which it has the digests of the compressed
// bytes between two (soci-snapshotter, ztoc/fbs/ztoc.fbs). It does not say of which blob it is, nor
// what the diffID is.

// The version of ztocs that are read: the only one so far.
const ztocVersion = "0.9"

// Fields of the tables of a ztoc, in the order of its schema.
const (
	ztocVersionField = iota
	_                // the program that made it
	ztocBlobSize
	ztocTarSize
	ztocTOC
	ztocCompression
)

const (
	ztocAlgorithm = iota
	_             // number of the last span
	ztocDigests
	ztocCheckpoints
)

const (
	ztocName = iota
	ztocType
	ztocOffset
	ztocSize
	ztocLink
	ztocMode
	ztocUID
	ztocGID
	_ // name of the owner
	_ // name of the group
	ztocModTime
	ztocMajor
	ztocMinor
	ztocRecords // PAX records
)

const ztocGzip = 1 // of the algorithms

// ztocTypes are the types of tar headers by those of a ztoc.
var ztocTypes = map[string]byte{
	"hardlink": tar.TypeLink, "symlink": tar.TypeSymlink, "dir": tar.TypeDir, "reg": tar.TypeReg,
	"char": tar.TypeChar, "block": tar.TypeBlock, "fifo": tar.TypeFifo,
}

// DecodeZtoc returns the document that b, a ztoc of the layer blob, is; its DiffID is empty, and its
// compression Spans. Its tree is made of the headers in b as Import makes it of the tar's, and the
// files have the same places in the data file. That holds for hostile bytes, too, as for
// DecodeDocument, which has the same bounds of memory. The error is ErrDocument; also for what
// Ladle reads in no ztoc: layers without gzip, sparse files, and spans of more than 64 MiB.
func DecodeZtoc(b []byte, blob digest.Digest) (*Document, error) {
	z := &ztoc{x: newExtraction(0, &budget{limit: func() int64 { return Memory(int64(len(b))) }})}
	d, err := z.decode(newFlatBuffer(b))
	if err != nil {
		return nil, fmt.Errorf("%w: ztoc: %w", ErrDocument, err)
	}
	d.Blob = blob
	return d, nil
}

// ztoc is a ztoc that is being read.
type ztoc struct {
	x       *extraction
	tarSize int64
	spans   []checkpoint
	digests [][sha256.Size]byte // of the spans
	files   []ztocFile          // with contents, in the order of the tar
	tar     int64               // bytes of the tar up to the end of the last entry's contents
	data    int64               // bytes of the data file
}

// ztocFile is a regular file with contents.
type ztocFile struct {
	inode *tree.Inode
	tar   int64 // where its contents are in the tar
}

func (z *ztoc) decode(f *flatBuffer) (*Document, error) {
	root := f.root()
	if v := root.text(ztocVersionField); v != ztocVersion {
		return nil, fmt.Errorf("version %.300q", v)
	}
	size := root.int64(ztocBlobSize)
	z.tarSize = root.int64(ztocTarSize)
	if size <= 0 || size > maxFile || z.tarSize < 0 || z.tarSize > maxInner {
		return nil, fmt.Errorf("tar of %d bytes in a blob of %d", z.tarSize, size)
	}
	err := errors.Join(z.readSpans(f, root.table(ztocCompression), size), f.err())
	if err != nil {
		return nil, err
	}
	n := 0
	err = root.table(ztocTOC).each(0, func(off int) error {
		if n++; n > maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		if err := z.add(f.table(off)); err != nil {
			return fmt.Errorf("entry %d: %w", n-1, err)
		}
		return nil
	})
	if err = errors.Join(err, f.err()); err != nil {
		return nil, err
	}
	x := &Index{Root: z.x.root, DataSize: align(z.data), Compression: Spans}
	if x.Chunks, err = z.chunks(size); err != nil {
		return nil, err
	}
	if x.Points, err = encodePoints(z.spans); err != nil {
		return nil, err
	}
	return &Document{BlobSize: size, Index: x}, checkOrder(x.Chunks, Spans)
}

// readSpans reads the points of a blob of size bytes.
func (z *ztoc) readSpans(f *flatBuffer, info *flatTable, size int64) (err error) {
	if a := info.byte(ztocAlgorithm, ztocGzip); a != ztocGzip {
		return fmt.Errorf("compression %d, and not gzip", a)
	}
	if z.spans, err = readCheckpoints(info.bytes(ztocCheckpoints), size); err != nil {
		return err
	}
	err = info.each(ztocDigests, func(off int) error {
		sum, err := parseDigest(f.textAt(off))
		z.digests = append(z.digests, sum)
		return err
	})
	if err == nil && len(z.digests) != len(z.spans) {
		err = fmt.Errorf("%d spans have %d digests", len(z.spans), len(z.digests))
	}
	return err
}

// add adds the entry t to the tree.
func (z *ztoc) add(t *flatTable) error {
	h, err := ztocHeader(t)
	if err != nil {
		return err
	}
	e, err := entryOf(h)
	if err != nil {
		return fmt.Errorf("%.300q: %w", h.Name, err)
	}
	inode, err := z.x.enter(&e)
	if err != nil {
		return fmt.Errorf("%.300q: %w", h.Name, err)
	}
	if e.Type != "reg" {
		return nil
	}
	at := t.int64(ztocOffset)
	if e.Size < 0 || at < z.tar || at > z.tarSize || e.Size > z.tarSize-at {
		return fmt.Errorf("%.300q: %d bytes at %d of a tar of %d, of which %d are those of other files", h.Name, e.Size, at, z.tarSize, z.tar)
	}
	z.tar = at + e.Size
	if inode == nil || e.Size == 0 {
		return nil
	}
	z.data = align(z.data)
	inode.Data = tree.Extent{Offset: z.data}
	if z.data += e.Size; z.data > maxFile {
		return fmt.Errorf("files of more than %d bytes", int64(maxFile))
	}
	z.files = append(z.files, ztocFile{inode, at})
	return z.x.memory.spend(costFile)
}

// ztocHeader returns the tar header of an entry.
func ztocHeader(t *flatTable) (*tar.Header, error) {
	h := &tar.Header{
		Name: t.text(ztocName), Typeflag: ztocTypes[t.text(ztocType)], Linkname: t.text(ztocLink), Size: t.int64(ztocSize),
		Mode: t.int64(ztocMode), Uid: int(t.uint32(ztocUID)), Gid: int(t.uint32(ztocGID)),
		Devmajor: t.int64(ztocMajor), Devminor: t.int64(ztocMinor),
	}
	if text := t.text(ztocModTime); text != "" {
		var err error
		if h.ModTime, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fmt.Errorf("%.300q: modification time %.100q", h.Name, text)
		}
	}
	err := t.each(ztocRecords, func(off int) error {
		record := t.f.table(off)
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[record.text(0)] = record.text(1)
		return nil
	})
	if err == nil && isSparse(h) {
		err = fmt.Errorf("%.300q: a sparse file", h.Name) // a ztoc does not say where its holes are
	}
	return h, err
}

// chunks returns the chunks of the files that are still in the tree: each file is cut where spans
// begin.
func (z *ztoc) chunks(size int64) ([]Chunk, error) {
	var chunks []Chunk
	span := 0
	for _, f := range z.files {
		if f.inode.Nlink == 0 {
			continue
		}
		for off := int64(0); off < f.inode.Size; {
			at := f.tar + off
			for span+1 < len(z.spans) && z.spans[span+1].Out <= at {
				span++
			}
			c := Chunk{
				DataOffset: f.inode.Data.Offset + off, Size: min(f.inode.Size-off, importChunk),
				BlobOffset: Spans.begin(z.spans[span].Place), BlobEnd: size, InnerOffset: at - z.spans[span].Out, Digest: z.digests[span],
			}
			if span+1 < len(z.spans) {
				c.BlobEnd = z.spans[span+1].In
				c.Size = min(c.Size, z.spans[span+1].Out-at)
			}
			if err := z.x.memory.spend(costPiece); err != nil {
				return nil, err
			}
			chunks = append(chunks, c)
			off += c.Size
		}
	}
	return chunks, nil
}
