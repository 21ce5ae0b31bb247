package ladle

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/locker"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
	"golang.org/x/sync/errgroup"
)

// For directories with fewer files and fewer bytes, BuildKit's own sequential hashing is
// as fast.
const (
	manyFiles = 1000
	manyBytes = 64 << 20
)

// digesting is locked for a reference while its digests are computed.
var digesting = locker.New()

// Digests computes the digests of the files below a path of ref on all CPUs and stores
// them in BuildKit's cache of digests, which would compute them sequentially
// (cache/contenthash). It does nothing for small directories and if the cache has the
// digests.
func Digests(ctx context.Context, ref cache.ImmutableRef, path string, g session.Group) error {
	if _, ok := ref.GetEqualMutable(); ok {
		return nil // the cache has the digests under the key of the mutable reference
	}
	digesting.Lock(ref.ID())
	defer func() { _ = digesting.Unlock(ref.ID()) }() // fails only for a name that is not locked
	if _, err := ref.GetExternal("buildkit.contenthash.v0"); err == nil {
		return nil
	}
	mountable, err := ref.Mount(ctx, true, g)
	if err != nil {
		return err
	}
	mounter := snapshot.LocalMounter(mountable)
	root, err := mounter.Mount()
	if err != nil {
		return err
	}
	defer func() {
		if err := mounter.Unmount(); err != nil {
			bklog.G(ctx).WithError(err).Warn("ladle: mount for computing digests is not removed")
		}
	}()
	dir, err := fs.RootPath(root, path)
	if err != nil {
		return err
	}
	files, err := large(dir)
	if err != nil || files == nil {
		return err
	}
	if err := hashAll(ctx, files); err != nil {
		return err
	}
	return store(ctx, ref, root, path, files, g)
}

// file is a regular file with its digest.
type file struct {
	path   string
	info   os.FileInfo
	digest digest.Digest
}

// maxReaders bounds the files that are read concurrently.
const maxReaders = 8

// large returns the regular files below dir in the order of filepath.Walk, which is that
// of layers; nil if they are few and small.
func large(dir string) ([]*file, error) {
	var files []*file
	var bytes int64
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			files = append(files, &file{path: path, info: info})
			bytes += info.Size()
		}
		return err
	})
	if errors.Is(err, os.ErrNotExist) || len(files) < manyFiles && bytes < manyBytes {
		return nil, nil
	}
	return files, err
}

func hashAll(ctx context.Context, files []*file) error {
	group, ctx := errgroup.WithContext(ctx)
	left := make(chan *file)
	group.Go(func() error {
		defer close(left)
		for _, f := range files {
			select {
			case left <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(runtime.GOMAXPROCS(0), maxReaders) {
		group.Go(func() error {
			buf := make([]byte, 64<<10)
			for f := range left {
				if err := f.hash(buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// hash computes the digest of a file as BuildKit does (cache/contenthash, prepareDigest).
func (f *file) hash(buf []byte) error {
	h, err := contenthash.NewFileHash(f.path, f.info)
	if err != nil {
		return err
	}
	if f.info.Size() > 0 {
		r, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer r.Close()
		// Hide os.File.WriteTo, which would allocate another buffer.
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, buf); err != nil {
			return err
		}
	}
	f.digest = digest.NewDigest(digest.SHA256, h)
	return nil
}

// store adds all names below root, with the digests of files, to BuildKit's cache of
// digests in the form that the cache itself computes. It adds the whole of root: the
// cache takes a tree that has a root for complete.
func store(ctx context.Context, ref cache.ImmutableRef, root, path string, files []*file, g session.Group) error {
	digests := map[string]digest.Digest{}
	for _, f := range files {
		digests[f.path] = f.digest
	}
	temporary := separate{ref}
	defer contenthash.ClearCacheContext(temporary)
	names, err := contenthash.GetCacheContext(ctx, temporary)
	if err != nil {
		return err
	}
	err = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		e := entry{FileInfo: info, stat: &fstypes.Stat{}, digest: digests[path]}
		if info.Mode()&os.ModeSymlink != 0 {
			if e.stat.Linkname, err = os.Readlink(path); err != nil {
				return err
			}
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return names.HandleChange(fsutil.ChangeKindAdd, rel, e, nil)
	})
	if err != nil {
		return err
	}
	if _, err := names.Checksum(ctx, ref, path, contenthash.ChecksumOpts{FollowLinks: true}, g); err != nil {
		return err
	}
	if err := contenthash.SetCacheContext(ctx, ref, names); err != nil {
		return err
	}
	// A cache context of another reference is not written to disk. After it was set once,
	// the reference has a context of its own, which is written.
	names, err = contenthash.GetCacheContext(ctx, ref)
	if err != nil {
		return err
	}
	return contenthash.SetCacheContext(ctx, ref, names)
}

// separate is a reference with another ID and no stored digests, for the cache of
// digests.
type separate struct{ cache.RefMetadata }

func (s separate) ID() string { return s.RefMetadata.ID() + "-ladle" }

func (separate) GetExternal(string) ([]byte, error) { return nil, os.ErrNotExist }

func (separate) SetExternal(string, []byte) error { return nil }

// entry is a name in the form that the cache of digests wants. If it has no digest, the
// cache computes it on demand.
type entry struct {
	os.FileInfo
	stat   *fstypes.Stat
	digest digest.Digest
}

func (e entry) Sys() any { return e.stat }

func (e entry) Digest() digest.Digest { return e.digest }
