package index

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ladle-dev/ladle/tree"
)

// maxHeaders bounds the bytes of a tar from one member's contents to those of the next:
// archive/tar keeps in memory what they say. It bounds long names and PAX records itself,
// to 1 MiB each, but not the map of a sparse file in GNU's old format.
const maxHeaders = 8 << 20

// maxHoles bounds the bytes of all holes of a tar's sparse files: a header can say any
// number, and they are read like others, which takes some seconds for so many.
const maxHoles = 64 << 30

// tarFile reads a tar: members become inodes, and their contents chunks of a data file.
type tarFile struct {
	ctx    context.Context // of the import
	x      *extraction
	in     *tarInput
	reader *tar.Reader
	out    *dataWriter
	files  []tarred
	chunks []Chunk // their InnerOffset is that in the tar
	holes  int64   // bytes of holes that were read
}

// tarred is a regular file with contents.
type tarred struct {
	inode *tree.Inode
	end   int // its chunks are those before this one that are not of the file before
}

// tarInput is what archive/tar reads from.
type tarInput struct {
	tar   io.Reader
	p     *pipeline // the same, of an import
	pos   int64     // bytes of the tar that were read
	limit int64     // where reading on is an error
	// fragments is told what is read of a sparse file; nil while no such file is read.
	fragments *fragments
}

func (in *tarInput) Read(b []byte) (int, error) {
	if in.pos >= in.limit {
		return 0, fmt.Errorf("headers of more than %d bytes", maxHeaders)
	}
	if in.fragments == nil || len(b) == 0 {
		n, err := in.tar.Read(b)
		in.pos += int64(n)
		return n, err
	}
	size, begins := in.p.together()
	n, err := in.p.Read(b[:min(len(b), size)])
	in.fragments.add(b[:n], in.pos, begins)
	in.pos += int64(n)
	return n, err
}

// readAll reads the tar to the end of the blob.
func (t *tarFile) readAll() error {
	for n := 0; ; n++ {
		t.in.limit = t.in.pos + maxHeaders
		h, err := t.reader.Next()
		t.in.limit = math.MaxInt64
		if errors.Is(err, io.EOF) {
			return t.drain(n == 0)
		}
		if err != nil {
			return err
		}
		if n == maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		if err := t.member(h); err != nil {
			return fmt.Errorf("member %d, %.300q: %w", n, h.Name, err)
		}
	}
}

// drain reads what follows the end of the tar, which belongs to the diffID. Of an empty tar that
// is zeros only: images of filesystems may begin with as many zeros as a tar ends with.
func (t *tarFile) drain(empty bool) error {
	rest := io.Discard
	if empty {
		rest = zerosOnly{}
	}
	_, err := io.Copy(rest, t.in)
	if err == nil {
		err = t.out.flush()
	}
	return err
}

// zerosOnly is a writer of zeros.
type zerosOnly struct{}

func (zerosOnly) Write(p []byte) (int, error) {
	if !isZero(p) {
		return 0, errors.New("no tar, although it begins with zeros")
	}
	return len(p), nil
}

// member adds the member of which h is the header.
func (t *tarFile) member(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // Apply ignores it, too
	}
	e, err := entryOf(h)
	if err != nil {
		return err
	}
	if h.Size < 0 || h.Size > maxFile {
		return fmt.Errorf("size %d", h.Size)
	}
	inode, err := t.x.enter(&e)
	if err != nil {
		return err
	}
	if inode == nil || e.Type != "reg" || e.Size == 0 {
		return t.skip(h.Size)
	}
	read := t.chunk
	if isSparse(h) {
		read = t.sparseChunks
	}
	return t.contents(inode, read)
}

// skip reads the size bytes of a member's contents, which are of no use.
func (t *tarFile) skip(size int64) error {
	for size > 0 {
		start := t.in.pos
		n, err := io.CopyN(io.Discard, t.reader, min(size, importChunk))
		if err == nil {
			err = t.passed(n, t.in.pos-start)
		}
		if err != nil {
			return unexpected(err)
		}
		size -= n
	}
	return nil
}

// passed notes that n bytes of a member's contents were read, which are some bytes of the
// tar.
func (t *tarFile) passed(n, ofTar int64) error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if t.holes += n - ofTar; t.holes > maxHoles {
		return fmt.Errorf("holes of more than %d bytes", int64(maxHoles))
	}
	return nil
}

// memberTypes are the types of entries by those of tar.
var memberTypes = map[byte]string{
	tar.TypeReg: "reg", tar.TypeGNUSparse: "reg", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo",
}

// xattrRecord begins the keys of PAX records that are extended attributes.
const xattrRecord = "SCHILY.xattr."

// entryOf returns the entry that a TOC would have for a member.
func entryOf(h *tar.Header) (entry, error) {
	e := entry{
		Name: h.Name, Type: memberTypes[h.Typeflag], Size: h.Size, LinkName: h.Linkname, Mode: h.Mode,
		UID: int64(h.Uid), GID: int64(h.Gid), DevMajor: h.Devmajor, DevMinor: h.Devminor,
	}
	if e.Type == "" {
		return e, fmt.Errorf("type %q", h.Typeflag)
	}
	if t := h.ModTime; !t.Before(firstTime) && !t.After(lastTime) {
		e.ModTime = t.UTC().Format(time.RFC3339Nano)
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string][]byte{}
			}
			e.Xattrs[name] = []byte(value)
		}
	}
	return e, nil
}

// contents reads the contents of a member into the data file by calling read with the most
// bytes to read, until all are read.
func (t *tarFile) contents(inode *tree.Inode, read func(most int) (int, error)) error {
	if err := t.out.align(); err != nil {
		return err
	}
	inode.Data = tree.Extent{Offset: t.out.offset()}
	if inode.Size > maxFile-inode.Data.Offset {
		return fmt.Errorf("files of more than %d bytes", int64(maxFile))
	}
	if err := t.x.memory.spend(costFile); err != nil {
		return err
	}
	for left := inode.Size; left > 0; {
		n, err := read(int(min(left, importChunk)))
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	t.files = append(t.files, tarred{inode, len(t.chunks)})
	return nil
}

// chunk reads up to most bytes of a member's contents, as far as they are of one stream of
// the blob, and makes a chunk of them unless they are all zeros. It returns how many.
func (t *tarFile) chunk(most int) (int, error) {
	start := t.in.pos
	n, err := t.piece(t.out.room()[:most])
	if err != nil {
		return 0, unexpected(err)
	}
	p := t.out.room()[:n]
	ofTar := t.in.pos - start
	if err := t.passed(int64(n), ofTar); err != nil {
		return 0, err
	}
	if ofTar != int64(n) {
		return 0, errFragments // no header says that the file is sparse
	}
	if err := t.addChunk(p, t.out.offset(), start); err != nil {
		return 0, err
	}
	return n, t.out.add(n)
}

// addChunk makes a chunk of p, which is at off of the data file and at pos of the tar, unless
// it is all zeros.
func (t *tarFile) addChunk(p []byte, off, pos int64) error {
	if isZero(p) {
		return nil
	}
	if err := t.x.memory.spend(costPiece); err != nil {
		return err
	}
	t.chunks = append(t.chunks, Chunk{DataOffset: off, Size: int64(len(p)), InnerOffset: pos, Digest: sha256.Sum256(p)})
	return nil
}

// piece fills p, or the beginning of it that is of one stream.
func (t *tarFile) piece(p []byte) (n int, err error) {
	for n < len(p) {
		size, begins := t.in.p.together()
		if begins && n > 0 {
			break
		}
		k, err := io.ReadFull(t.reader, p[n:min(len(p), n+size)])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// index returns the index of the tar, which u has read to its end.
func (t *tarFile) index(u *unpacker) (*Index, error) {
	x := &Index{Root: t.x.root, Chunks: t.inTree(), DataSize: align(t.out.offset()), Compression: u.compression}
	if u.compression == Plain {
		for i := range x.Chunks {
			c := &x.Chunks[i]
			c.BlobOffset, c.BlobEnd, c.InnerOffset = c.InnerOffset, c.InnerOffset+c.Size, 0
		}
		return x, checkOrder(x.Chunks, x.Compression)
	}
	if u.compression == Gzip {
		x.Compression, x.Points = Points, u.points.Bytes()
	}
	placeIn(x.Chunks, u.begins, u.source.n.Load())
	return x, checkOrder(x.Chunks, x.Compression)
}

// inTree returns the chunks of the files that are still in the tree.
func (t *tarFile) inTree() []Chunk {
	chunks := t.chunks[:0]
	first := 0
	for _, f := range t.files {
		if f.inode.Nlink > 0 {
			chunks = append(chunks, t.chunks[first:f.end]...)
		}
		first = f.end
	}
	return chunks
}

// placeIn says of each chunk in which stream of a blob of size bytes it is. No chunk is in
// two.
func placeIn(chunks []Chunk, begins []beginning, size int64) {
	var stream beginning
	for i := range chunks {
		c := &chunks[i]
		for len(begins) > 0 && begins[0].tar <= c.InnerOffset {
			stream, begins = begins[0], begins[1:]
		}
		c.BlobOffset, c.InnerOffset, c.BlobEnd = stream.blob, c.InnerOffset-stream.tar, size
		if len(begins) > 0 {
			c.BlobEnd = begins[0].blob
		}
	}
}
