package index

import (
	"errors"
	"fmt"
	"math"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// check returns an error unless d is what an index can be, as far as that can be told without
// its blob.
func (d *Document) check() error {
	for _, of := range []digest.Digest{d.Blob, d.DiffID} {
		if _, err := parseDigest(string(of)); err != nil {
			return err
		}
	}
	if (len(d.Points) > 0) != (d.Compression == Points) {
		return errors.New("points of another compression, or none")
	}
	return d.checkIndex()
}

// checkIndex is check without what a ztoc does not say, or does in another way.
func (d *Document) checkIndex() error {
	switch {
	case d.BlobSize < 0 || d.BlobSize > maxFile:
		return fmt.Errorf("blob of %d bytes", d.BlobSize)
	case d.DataSize < 0 || d.DataSize > maxFile || d.DataSize != align(d.DataSize):
		return fmt.Errorf("data file of %d bytes", d.DataSize)
	case d.PrefetchSize > d.BlobSize:
		return fmt.Errorf("prefetch of %d bytes", d.PrefetchSize)
	}
	table, err := DecodeTable(EncodeTable(d.Index))
	if err != nil {
		return err
	}
	if n := len(d.Chunks); n > 0 && (d.Chunks[n-1].DataOffset+d.Chunks[n-1].Size > d.DataSize || d.Chunks[n-1].BlobEnd > d.BlobSize) {
		return errors.New("chunks behind the end")
	}
	if table.points != nil {
		if err := table.points.Check(); err != nil {
			return err
		}
	}
	if d.Root == nil || !d.Root.IsDir() {
		return errors.New("no tree")
	}
	return tree.Walk(d.Root, func(path string, inode *tree.Inode) error {
		err := checkInode(inode, d.DataSize)
		if len(path) > maxPath {
			err = fmt.Errorf("path of %d bytes", len(path))
		}
		if err != nil {
			return fmt.Errorf("%.300q: %w", path, err)
		}
		return nil
	})
}

// checkInode returns an error unless Parse or Import can have made inode, in a layer with a
// data file of so many bytes.
func checkInode(i *tree.Inode, dataSize int64) error {
	text := map[string][]byte{}
	for name, value := range i.Xattrs {
		if !takesXattr(i, name) {
			return fmt.Errorf("extended attribute %.300q", name)
		}
		text[name] = []byte(value)
	}
	if err := checkXattrs(text); err != nil {
		return err
	}
	t := i.Mtime
	switch {
	case i.UID == math.MaxUint32 || i.GID == math.MaxUint32:
		return fmt.Errorf("owner %d:%d", i.UID, i.GID)
	case t.Sec < firstTime.Unix() || t.Sec > lastTime.Unix() || t.Sec == lastTime.Unix() && t.Nsec > uint32(lastTime.Nanosecond()):
		return fmt.Errorf("modification time %d", t.Sec)
	case i.Size > 0 && (i.Data.Layer != 0 || i.Data.Offset < 0 || i.Data.Offset > dataSize-i.Size):
		return fmt.Errorf("contents of %d bytes at %d of a data file of %d", i.Size, i.Data.Offset, dataSize)
	case i.Type() == unix.S_IFLNK && i.Target == "":
		return errors.New("symbolic link to nothing")
	case i.Type() == unix.S_IFSOCK:
		return errors.New("a socket")
	case i.Device.Major >= 1<<12 || i.Device.Minor >= 1<<20:
		return fmt.Errorf("device %d:%d", i.Device.Major, i.Device.Minor)
	}
	return pathText(i.Target).check()
}
