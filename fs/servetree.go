package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ladle-dev/ladle/metrics"
)

// OpenDir of a directory in a tree answers ENOSYS, after which the kernel sends no more
// and caches directories (FUSE_NO_OPENDIR_SUPPORT, Linux 5.1).
func (r *requests) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	r.counts.Add(metrics.OpOpendir)
	if in.NodeId == nodeRoot {
		return fuse.OK
	}
	return fuse.ENOSYS
}

// ReadDir lists a directory of a tree. The root is listed as empty: the kernel would
// cache its entries.
func (r *requests) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.readDir(in.NodeId, func(t *inodes, inode uint32) { t.list(inode, out) })
}

// ReadDirPlus is ReadDir with a Lookup of every name.
func (r *requests) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.readDir(in.NodeId, func(t *inodes, inode uint32) { t.listPlus(inode, out) })
}

func (r *requests) readDir(id uint64, list func(t *inodes, inode uint32)) fuse.Status {
	r.counts.Add(metrics.OpReaddir)
	if id == nodeRoot {
		return fuse.OK
	}
	t, inode, status := r.inTree(r.lifetime, id)
	if status != fuse.OK {
		return status
	}
	if !t.node(inode).IsDir() {
		return fuse.ENOTDIR
	}
	list(t, inode)
	return fuse.OK
}

// ReleaseDir follows an OpenDir that did not answer ENOSYS.
func (r *requests) ReleaseDir(*fuse.ReleaseIn) { r.counts.Add(metrics.OpOther) }

// GetXAttr returns only the size if dest is empty.
func (r *requests) GetXAttr(_ <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	r.counts.Add(metrics.OpGetxattr)
	t, inode, status := r.xattrsOf(header)
	if status != fuse.OK {
		return 0, status
	}
	value, ok := t.xattr(inode, name)
	if !ok {
		return 0, fuse.ENOATTR
	}
	return fill(dest, value)
}

// ListXAttr hides the names of trusted attributes from users without access to them, as
// other filesystems do, where it can: a kernel that maps the owners of files (Linux 6.12,
// FUSE_ALLOW_IDMAP) does not tell who asks. overlayfs, which asks in the name of the process
// that mounted it and copies these attributes, does so by itself.
func (r *requests) ListXAttr(_ <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	r.counts.Add(metrics.OpGetxattr)
	t, inode, status := r.xattrsOf(header)
	if status != fuse.OK {
		return 0, status
	}
	return fill(dest, t.xattrNames(inode, header.Uid == 0 || header.Uid == noUser))
}

// noUser is the user of a request that does not say whose it is (Linux 6.12,
// include/uapi/linux/fuse.h, FUSE_INVALID_UIDGID).
const noUser = 1<<32 - 1

// xattrsOf is inTree for requests about extended attributes, which data files do not
// have.
func (r *requests) xattrsOf(header *fuse.InHeader) (*inodes, uint32, fuse.Status) {
	if _, inode, ok := nodeOf(header.NodeId); !ok || inode == 0 {
		return nil, 0, fuse.ENOATTR
	}
	return r.inTree(r.lifetime, header.NodeId)
}

func fill(dest []byte, value string) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}
