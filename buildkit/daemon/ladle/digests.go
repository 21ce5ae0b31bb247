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

// Directories with fewer files and fewer bytes than these are left to BuildKit:
// it reads them as fast.
const (
	manyFiles = 1000
	manyBytes = 64 << 20
)

// digesting is locked for a reference while its digests are found out.
var digesting = locker.New()

// Digests finds out the digests of the files below a path of ref on all
// processors, and tells them to BuildKit's cache, which would find them out one
// after the other (its cache/contenthash). It does nothing where that is not
// worthwhile or was done before.
func Digests(ctx context.Context, ref cache.ImmutableRef, path string, g session.Group) error {
	if _, ok := ref.GetEqualMutable(); ok {
		return nil // the cache has digests under another name
	}
	digesting.Lock(ref.ID())
	defer func() { _ = digesting.Unlock(ref.ID()) }() // it fails only for what is not locked
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
			bklog.G(ctx).WithError(err).Warn("a mount stays")
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
	return tell(ctx, ref, root, path, files, g)
}

// file is one that has a digest.
type file struct {
	path   string
	info   os.FileInfo
	digest digest.Digest
}

// mostReaders bounds the files that are read at once.
const mostReaders = 8

// large returns the files below dir in the order of a walk, as layers have them,
// or nothing if they are few.
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
	for range min(runtime.GOMAXPROCS(0), mostReaders) {
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

// hash finds out the digest of a file as BuildKit does (cache/contenthash,
// prepareDigest).
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
		// Without the file's own method: it would allocate another buffer.
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, buf); err != nil {
			return err
		}
	}
	f.digest = digest.NewDigest(digest.SHA256, h)
	return nil
}

// tell gives the cache all names below root, as it would find them itself, with
// the digests of files. It is given them as a whole: what has the root is taken
// for complete.
func tell(ctx context.Context, ref cache.ImmutableRef, root, path string, files []*file, g session.Group) error {
	digests := map[string]digest.Digest{}
	for _, f := range files {
		digests[f.path] = f.digest
	}
	mine := apart{ref}
	defer contenthash.ClearCacheContext(mine)
	names, err := contenthash.GetCacheContext(ctx, mine)
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
	// What is set for another reference is not kept on disk, but now it is its own.
	names, err = contenthash.GetCacheContext(ctx, ref)
	if err != nil {
		return err
	}
	return contenthash.SetCacheContext(ctx, ref, names)
}

// apart is a reference as the cache of digests sees it, with a name of its own
// and without what is known of it.
type apart struct{ cache.RefMetadata }

func (a apart) ID() string { return a.RefMetadata.ID() + "-ladle" }

func (apart) GetExternal(string) ([]byte, error) { return nil, os.ErrNotExist }

func (apart) SetExternal(string, []byte) error { return nil }

// entry is a name as the cache of digests takes it. Without a digest, it finds it
// out when it is needed.
type entry struct {
	os.FileInfo
	stat   *fstypes.Stat
	digest digest.Digest
}

func (e entry) Sys() any { return e.stat }

func (e entry) Digest() digest.Digest { return e.digest }
