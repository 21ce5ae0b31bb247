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
	// carried is what was read of the chunk that comes next.
	carried run
	files   []tarred
	chunks  []Chunk
	holes   int64 // bytes of holes that were read
	plain   bool  // the blob is the tar
	whole   bool  // there are chunks that are not in one piece in the tar
}

// tarred is a regular file with contents.
type tarred struct {
	inode *tree.Inode
	end   int // its chunks are those before this one that are not of the file before
}

// run is bytes of a member's contents.
type run struct {
	n          int   // bytes
	start, end int64 // where they are in the tar; less than n bytes if some are a hole
	at         place // of the first
}

// tarInput is what archive/tar reads from.
type tarInput struct {
	p     *pipeline
	pos   int64 // bytes of the tar that were read
	limit int64 // where reading on is an error
	at    place // of the first byte since the last call of begin
	begun bool
	mixed bool // what was read since then is in more than one stream
}

func (in *tarInput) begin() { in.begun, in.mixed = false, false }

func (in *tarInput) Read(b []byte) (int, error) {
	if in.pos >= in.limit {
		return 0, fmt.Errorf("headers of more than %d bytes", maxHeaders)
	}
	n, err := in.p.Read(b)
	if err != nil {
		return 0, err
	}
	in.pos += int64(n)
	at := in.p.place()
	in.mixed = in.mixed || in.begun && at != in.at
	if !in.begun {
		in.at, in.begun = at, true
	}
	return n, nil
}

// readAll reads the tar to the end of the blob.
func (t *tarFile) readAll() error {
	for n := 0; ; n++ {
		t.in.limit = t.in.pos + maxHeaders
		h, err := t.reader.Next()
		t.in.limit = math.MaxInt64
		if errors.Is(err, io.EOF) {
			return t.drain()
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

// drain reads what follows the end of the tar, which belongs to the diffID.
func (t *tarFile) drain() error {
	_, err := io.Copy(io.Discard, t.in)
	if err == nil {
		err = t.out.flush()
	}
	return err
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
	return t.contents(inode)
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

// contents reads the contents of a member into the data file.
func (t *tarFile) contents(inode *tree.Inode) error {
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
		start, known := t.in.pos, t.carried.n
		r, err := t.nextRun(int(min(left, importChunk)))
		if err == nil {
			err = t.seal(r)
		}
		if err == nil {
			err = t.passed(int64(r.n-known+t.carried.n), t.in.pos-start)
		}
		if err != nil {
			return err
		}
		left -= int64(r.n)
	}
	t.files = append(t.files, tarred{inode, len(t.chunks)})
	return nil
}

// nextRun reads up to want bytes of the member's contents that are in one stream into the
// room of t.out.
func (t *tarFile) nextRun(want int) (run, error) {
	r := t.carried
	t.carried = run{}
	for r.n < want {
		start := t.in.pos
		t.in.begin()
		n, err := t.reader.Read(t.out.room()[r.n:want])
		next := run{n, start, t.in.pos, t.in.at}
		t.whole = t.whole || t.in.mixed
		switch {
		case n == 0: // err says why
		case r.n == 0:
			r = next
		case next.at != r.at:
			t.carried = next
			return r, nil
		default:
			r.n, r.end = r.n+n, next.end
		}
		if err != nil && r.n < want {
			return r, unexpected(err)
		}
	}
	return r, nil
}

// seal makes a chunk of r, whose bytes are the first of the room of t.out, unless these
// are all zeros.
func (t *tarFile) seal(r run) error {
	p := t.out.room()[:r.n]
	if !isZero(p) {
		if err := t.x.memory.spend(costPiece); err != nil {
			return err
		}
		t.whole = t.whole || r.end-r.start != int64(r.n)
		c := Chunk{
			DataOffset: t.out.offset(), Size: int64(r.n), Digest: sha256.Sum256(p),
			BlobOffset: r.at.blob, InnerOffset: r.start - r.at.inner,
		}
		if t.plain {
			c.BlobOffset, c.InnerOffset, c.BlobEnd = r.start, 0, r.end
		}
		t.chunks = append(t.chunks, c)
	}
	return t.out.add(r.n, t.carried.n)
}

// layOut returns the chunks of the files that are still in the tree. The blob has size
// bytes.
func (t *tarFile) layOut(size int64) []Chunk {
	chunks := t.chunks[:0]
	first := 0
	for _, f := range t.files {
		if f.inode.Nlink > 0 {
			chunks = append(chunks, t.chunks[first:f.end]...)
		}
		first = f.end
	}
	end := size
	for i := len(chunks) - 1; i >= 0; i-- {
		c := &chunks[i]
		switch {
		case t.whole:
			c.BlobOffset, c.BlobEnd, c.InnerOffset = 0, size, c.DataOffset
		case !t.plain:
			if i+1 < len(chunks) && chunks[i+1].BlobOffset != c.BlobOffset {
				end = chunks[i+1].BlobOffset
			}
			c.BlobEnd = end
		}
	}
	return chunks
}
