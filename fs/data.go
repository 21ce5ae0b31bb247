package fs

import (
	"context"
	"math"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// forever is how long the kernel may keep what it is told of names and
// attributes. Larger values overflow the kernel's clock on some machines.
const forever = 10 * 365 * 24 * time.Hour

// attributes of the data file of layer number.
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

// read fills p from off. Beyond the end of the data, up to the end of the last
// block, are zeros. It returns less than len(p) at the end of the file only.
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
