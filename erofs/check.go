package erofs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// check returns an error for an inode that the image cannot hold, or that
// makes no sense.
func (p *plan) check(n *node) error {
	i := n.inode
	if i.Mtime.Nsec >= 1e9 {
		return fmt.Errorf("time with %d nanoseconds", i.Mtime.Nsec)
	}
	if i.IsDir() != (i.Type() == unix.S_IFDIR) || i.Mode>>16 != 0 || direntType(i.Mode) == 0 {
		return fmt.Errorf("mode %#o", i.Mode)
	}
	switch i.Type() {
	case unix.S_IFDIR:
		return checkNames(n.entries)
	case unix.S_IFREG:
		return p.checkFile(i)
	case unix.S_IFLNK:
		return checkTarget(i.Target)
	case unix.S_IFCHR, unix.S_IFBLK:
		if i.Device.Major > maxMajor || i.Device.Minor > maxMinor {
			return fmt.Errorf("device number %d:%d", i.Device.Major, i.Device.Minor)
		}
	}
	return nil
}

func checkNames(entries []entry) error {
	seen := 0 // of "." and "..", which collect made
	for _, e := range entries {
		if e.name == "." || e.name == ".." {
			seen++
		}
		if e.name == "" || len(e.name) > maxName || strings.IndexByte(e.name, 0) >= 0 || strings.IndexByte(e.name, '/') >= 0 || seen > 2 {
			return fmt.Errorf("entry with the name %.300q", e.name)
		}
	}
	return nil
}

// checkFile makes sure that what a file says of its bytes lies in its device.
func (p *plan) checkFile(i *tree.Inode) error {
	if i.Size < 0 {
		return fmt.Errorf("size %d", i.Size)
	}
	if i.Size == 0 {
		return nil
	}
	if i.Data.Layer < 0 || i.Data.Layer >= len(p.devices) {
		return fmt.Errorf("data in layer %d of %d", i.Data.Layer, len(p.devices))
	}
	device := p.devices[i.Data.Layer] * blockSize
	if i.Data.Offset < 0 || i.Data.Offset%blockSize != 0 || i.Data.Offset > device || i.Size > device-i.Data.Offset {
		return fmt.Errorf("%d bytes at %d of a data file of %d", i.Size, i.Data.Offset, device)
	}
	return nil
}

func checkTarget(target string) error {
	if target == "" || strings.Contains(target, "\x00") {
		return fmt.Errorf("link to %q", target)
	}
	if len(target) > maxTarget {
		return fmt.Errorf("link to %d bytes, more than %d", len(target), maxTarget)
	}
	return nil
}

// setDevices checks the sizes of the data files.
func (p *plan) setDevices(sizes []int64) error {
	if len(sizes) > maxDevices {
		return fmt.Errorf("%d devices, more than %d", len(sizes), maxDevices)
	}
	for i, size := range sizes {
		if size < 0 || size > maxBlocks*blockSize {
			return fmt.Errorf("data file %d of %d bytes, more than %d", i, size, int64(maxBlocks*blockSize))
		}
		p.devices = append(p.devices, align(size, blockSize)/blockSize)
	}
	return nil
}

var errTooLarge = errors.New("image of more than 2^32 blocks")
