package fs

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// forever is the validity of names and attributes in the kernel's cache. Larger values
// overflow the kernel's clock on some architectures.
const forever = 10 * 365 * 24 * time.Hour

// attributes fills a with the attributes of the data file of layer number.
func (d *dataFile) attributes(number uint32, a *fuse.Attr) {
	size := uint64(exportedSize(d.layer))
	*a = fuse.Attr{
		Ino:     dataNode(number),
		Size:    size,
		Blocks:  size / 512,
		Mode:    unix.S_IFREG | 0o400,
		Nlink:   1,
		Blksize: tree.BlockSize,
	}
}

// errGone is the error of a read of a layer or tree that the export does not have.
var errGone = errors.New("not exported")

// readData fills p from offset off of a data file: see dataFile.read.
func (e *export) readData(ctx context.Context, number uint32, p []byte, off int64) (int, error) {
	file := e.beginRead(ctx, number)
	if file == nil {
		return 0, errGone
	}
	defer e.endRead(number, file)
	return file.read(ctx, p, off)
}

// readTree fills p from offset off of a file in a tree. It returns less than len(p) only
// at the end of the file.
func (e *export) readTree(ctx context.Context, id uint64, p []byte, off int64) (int, error) {
	t, inode, status := e.inTree(ctx, id)
	if status != fuse.OK {
		return 0, errGone
	}
	n := t.node(inode)
	p = p[:clamp(n.Size-off, len(p))]
	if len(p) == 0 {
		return 0, nil
	}
	number := uint32(t.layers[n.Data.Layer].Number())
	file := e.beginRead(ctx, number)
	if file == nil {
		return 0, errGone
	}
	defer e.endRead(number, file)
	if _, err := file.layer.ReadAt(ctx, p, n.Data.Offset+off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// read fills p from offset off. The padding from the end of the data to the end of the
// last block is zeros. It returns less than len(p) only at the end of the file.
func (d *dataFile) read(ctx context.Context, p []byte, off int64) (int, error) {
	p = p[:clamp(exportedSize(d.layer)-off, len(p))]
	data := p[:clamp(d.layer.DataSize()-off, len(p))]
	clear(p[len(data):])
	if len(data) == 0 {
		return len(p), nil
	}
	if _, err := d.layer.ReadAt(ctx, data, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// clamp returns n, but at least zero and at most limit.
func clamp(n int64, limit int) int {
	return int(min(max(n, 0), int64(min(limit, math.MaxInt32))))
}
