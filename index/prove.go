package index

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/tree"
)

var (
	// ErrOtherTree is returned for an index that shows another tree, or other contents
	// of files, than the tar has.
	ErrOtherTree = errors.New("the index does not show what the tar has")

	// ErrNoProof is returned for a tar of which nothing can be proved, since it is none
	// that can be read: see the package's documentation for sparse files.
	ErrNoProof = errors.New("the tar cannot be read")
)

// Claimed is an index, and the data file that was filled by it.
type Claimed struct {
	Root  *tree.Inode
	Table Table
	Data  io.ReaderAt
}

// Prove rebuilds the tar of a layer from its data file and the stretches of its blob, which
// next returns in their order, and then io.EOF. It returns the digest of the tar, the layer's
// diffID. The error is nil if the tar has just the tree and the contents of files that x
// shows; else it matches ErrOtherTree, with the diffID, or ErrNoProof, or is one of next, of a
// Rest or of the data file, or the cause of ctx's end.
func Prove(ctx context.Context, x Claimed, next func() (Stretch, error)) (digest.Digest, error) {
	in := newRebuilt(x.Table, x.Data, next)
	p := &replay{
		ctx: ctx, rebuilt: in, in: &tarInput{tar: in}, buf: make([]byte, 128<<10), contents: map[*tree.Inode]passed{},
		x: newExtraction(0, &budget{limit: func() int64 { return ImportMemory }}),
	}
	failing := &firstError{r: in}
	p.in.tar = failing
	if err := p.readAll(); err != nil {
		if failing.err != nil {
			return "", failing.err
		}
		if ctx.Err() != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	p.x.dropOwn()
	c := comparison{replay: p, table: x.Table, shown: map[*tree.Inode]*tree.Inode{}}
	if err := c.inodes("/", p.x.root, x.Root); err != nil {
		return in.diffID(), fmt.Errorf("%w: %w", ErrOtherTree, err)
	}
	return in.diffID(), nil
}

// firstError keeps the error of its Reader, except io.EOF.
type firstError struct {
	r   io.Reader
	err error
}

func (f *firstError) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// replay makes the tree of a tar, and finds where in the tar the contents of its files are.
type replay struct {
	ctx      context.Context
	rebuilt  *rebuilt
	in       *tarInput
	x        *extraction
	buf      []byte
	contents map[*tree.Inode]passed // of files
}

func (p *replay) readAll() error {
	reader := tar.NewReader(p.in)
	for n := 0; ; n++ {
		p.in.limit = p.in.pos + maxHeaders
		h, err := reader.Next()
		p.in.limit = math.MaxInt64
		if errors.Is(err, io.EOF) {
			return p.read(p.in) // what follows the end of the tar belongs to the diffID
		}
		if err != nil {
			return err
		}
		if n == maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		if err := p.member(h, reader); err != nil {
			return fmt.Errorf("member %d, %.300q: %w", n, h.Name, err)
		}
	}
}

func (p *replay) member(h *tar.Header, contents io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if isSparse(h) {
		return errors.New("a sparse file")
	}
	e, err := entryOf(h)
	if err != nil {
		return err
	}
	inode, err := p.x.enter(&e)
	if err != nil {
		return err
	}
	start := p.in.pos
	p.rebuilt.passed = passed{}
	if err := p.read(contents); err != nil {
		return err
	}
	if inode != nil && e.Type == "reg" && e.Size > 0 {
		if err := p.x.memory.spend(costFile); err != nil {
			return err
		}
		inode.Data.Offset, p.contents[inode] = start, p.rebuilt.passed
	}
	return nil
}

// read reads r to its end.
func (p *replay) read(r io.Reader) error {
	for {
		_, err := r.Read(p.buf)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case p.ctx.Err() != nil:
			return context.Cause(p.ctx)
		}
	}
}
