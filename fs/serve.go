package fs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/metrics"
)

// requests answers the FUSE requests for the export. It has no state but the counts of
// export. Other operations are answered with ENOSYS, after which the kernel does not send
// them again.
type requests struct {
	fuse.RawFileSystem
	*export
}

func newRequests(e *export) *requests {
	return &requests{fuse.NewDefaultRawFileSystem(), e}
}

// String is the name of the filesystem for go-fuse.
func (r *requests) String() string { return "ladle" }

// Lookup finds data files and trees in the root, by their numbers, and entries in trees.
// In the root the kernel does not cache that a name does not exist, since the layer can
// be added later.
func (r *requests) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r.counts.Add(metrics.OpLookup)
	if header.NodeId == nodeRoot {
		return r.lookupRoot(name, out)
	}
	t, inode, status := r.inTree(r.lifetime, header.NodeId)
	if status != fuse.OK {
		return status
	}
	switch name {
	case ".":
		return r.lookupSelf(t, inode, out)
	case "..":
		if inode == rootInode {
			return fuse.Status(unix.ESTALE) // the parent is not in the tree
		}
		return r.lookupSelf(t, t.node(inode).parent, out)
	}
	t.lookup(inode, name, out)
	return fuse.OK
}

// lookupSelf finds an inode, or its parent, that the kernel dropped from its cache and
// opens by its file handle (FUSE_EXPORT_SUPPORT, Linux fs/fuse/inode.c, fuse_get_dentry).
// overlayfs stores the handle of the origin with each file that it copied up, for a
// constant st_ino.
func (r *requests) lookupSelf(t *inodes, inode uint32, out *fuse.EntryOut) fuse.Status {
	if inode == rootInode && r.lookupTree(t.number) == nil {
		return fuse.Status(unix.ESTALE)
	}
	t.entry(inode, out)
	return fuse.OK
}

func (r *requests) lookupRoot(name string, out *fuse.EntryOut) fuse.Status {
	if number, ok := numberIn(name, dataPrefix); ok {
		if file := r.data(r.lifetime, number); file != nil {
			out.NodeId = dataNode(number)
			file.attributes(number, &out.Attr)
			out.SetAttrTimeout(forever)
			return fuse.OK
		}
	}
	if number, ok := numberIn(name, treePrefix); ok {
		if t := r.lookupTree(number); t != nil {
			t.entry(rootInode, out)
			return fuse.OK
		}
	}
	return fuse.ENOENT
}

// Forget of the root of a tree can end the lifetime of the tree.
func (r *requests) Forget(id, lookups uint64) {
	r.counts.Add(metrics.OpForget)
	if number, inode, ok := nodeOf(id); ok && inode == rootInode {
		r.forgotten(number, lookups)
	}
}

// GetAttr is called once for each node, since attributes never change.
func (r *requests) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.counts.Add(metrics.OpGetattr)
	out.SetTimeout(forever)
	if in.NodeId == nodeRoot {
		out.Attr = fuse.Attr{Ino: nodeRoot, Mode: unix.S_IFDIR | 0o700, Nlink: 2}
		return fuse.OK
	}
	if number, inode, ok := nodeOf(in.NodeId); ok && inode == 0 {
		file := r.data(r.lifetime, number)
		if file == nil {
			return fuse.Status(unix.ESTALE)
		}
		file.attributes(number, &out.Attr)
		return fuse.OK
	}
	t, inode, status := r.inTree(r.lifetime, in.NodeId)
	if status == fuse.OK {
		t.attributes(inode, &out.Attr)
	}
	return status
}

// Open of a data file bypasses the page cache: its bytes are cached as pages of EROFS.
// Files in trees answer ENOSYS, after which the kernel sends no OPEN for any file
// (FUSE_NO_OPEN_SUPPORT); therefore no daemon uses the fuse driver together with the
// others.
func (r *requests) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r.counts.Add(metrics.OpOpen)
	number, inode, ok := nodeOf(in.NodeId)
	if !ok {
		return fuse.EINVAL
	}
	if inode != 0 {
		return fuse.ENOSYS
	}
	if !r.opened(number) {
		return fuse.Status(unix.ESTALE)
	}
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

// Release of a data file can end the lifetime of its layer.
func (r *requests) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	r.counts.Add(metrics.OpRelease)
	if number, inode, ok := nodeOf(in.NodeId); ok && inode == 0 {
		r.released(number)
	}
}

// Read answers in full or with an error: see "Never zeros" in the package documentation.
func (r *requests) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	r.counts.Add(metrics.OpRead)
	number, inode, ok := nodeOf(in.NodeId)
	if !ok {
		return nil, fuse.EINVAL
	}
	ctx, done := r.reading(cancel, in.Pid)
	defer done()
	off := int64(in.Offset)
	if r.late.repeats(in, time.Now()) {
		var end context.CancelFunc
		ctx, end = noTime(ctx)
		defer end()
	}
	var n int
	var err error
	if inode == 0 {
		n, err = r.readData(ctx, number, buf, off)
	} else {
		n, err = r.readTree(ctx, in.NodeId, buf, off)
	}
	if err != nil {
		return nil, r.failed(ctx, in, number, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Flush answers ENOSYS, after which the kernel sends no more. That prevents a deadlock: a
// killed process with an open file of its own export would wait for its own answer at
// exit.
func (r *requests) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status {
	r.counts.Add(metrics.OpOther)
	return fuse.ENOSYS
}

// Readlink reads a symbolic link of a tree. The kernel caches the result.
func (r *requests) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	r.counts.Add(metrics.OpReadlink)
	t, inode, status := r.inTree(r.lifetime, header.NodeId)
	if status != fuse.OK {
		return nil, status
	}
	return []byte(t.node(inode).Target), fuse.OK
}

// StatFs reports the disk of the store, for kubelet's monitoring.
func (r *requests) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	r.counts.Add(metrics.OpStatfs)
	var st syscall.Statfs_t
	if err := syscall.Statfs(r.disk, &st); err != nil {
		return fuse.ToStatus(err)
	}
	out.FromStatfsT(&st)
	return fuse.OK
}
