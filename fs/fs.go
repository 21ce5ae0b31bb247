package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// Layer is a layer that can be mounted; *layer.Layer implements it. It is used
// concurrently.
type Layer interface {
	// Number identifies the layer, is never reused, and is below 2^31-1.
	Number() uint64
	// DataSize is in bytes.
	DataSize() int64
	// ReadAt fills p from offset off of the data file, or returns an error, which
	// matches context.DeadlineExceeded if the read timed out. It reads local data
	// even if ctx has ended.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Tree returns the root of the layer's tree; the caller must not change it.
	Tree() (*tree.Inode, error)
	// Close is called once for every Layer that Options.Layers returned.
	Close() error
}

// Images stores tree images, and the chunk tables of layers; *store.Store implements it.
type Images interface {
	Layer(id store.ID) (*store.Layer, error)
	Tree(ctx context.Context, spec store.Spec) (store.TreeImage, error)
	AddTree(ctx context.Context, spec store.Spec, inodes uint64, write func(f *os.File, image store.TreeImage) error) (store.TreeImage, error)
}

// Options configure a FileSystem. Root, Images and Layers are required.
type Options struct {
	// Root is an existing directory, below which everything is mounted. EROFS can
	// be mounted from files on ext4, xfs and btrfs, but not tmpfs or overlayfs. The
	// path has at most 200 bytes.
	Root   string
	Images Images
	// Layers opens a layer without using the network.
	Layers func(store.ID) (Layer, error)
	// Driver is "erofs", "loop" or "fuse". Empty or "auto" is the first of these
	// that works.
	Driver   string
	Requests *metrics.Requests // nil counts nothing
	Mounts   *metrics.Mounts   // nil counts nothing
	// Takeover is the connection of a process that has ended without Close. Its
	// trees are still mounted; Mount adopts them, and until then requests for them
	// wait. If New fails, the connection is closed. Nil: New mounts a new export.
	Takeover *Connection

	notMapped bool // owners cannot be mapped on the FUSE connection; for tests
}

// LayersOf returns a function for Options.Layers from a set such as *layer.Set.
func LayersOf[L Layer](set interface{ Layer(store.ID) (L, error) }) func(store.ID) (Layer, error) {
	return func(id store.ID) (Layer, error) {
		l, err := set.Layer(id)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

const maxRoot = 200 // bytes: fsconfig(2) limits the paths of devices below it to 255

// FileSystem mounts trees. It may be used concurrently.
type FileSystem struct {
	root   string
	opts   Options
	export *export
	conn   *connection
	driver driver
	reason string // for the choice of driver

	// lifetime ends with Close, and with it background work.
	lifetime context.Context
	end      context.CancelFunc
	warming  sync.WaitGroup
	warmers  *semaphore.Weighted // bounds the concurrent calls of warm

	clones clones

	mu struct {
		sync.Mutex
		closed bool
		// mounts has every tree and every clone that is mounted or has users.
		mounts map[key]*mounted
		// owned mirrors mounted.owners.
		owned map[string]map[*mounted]struct{}
	}
}

// New mounts the export below opts.Root, or takes it over, and chooses the driver. It
// first detaches mounts that a killed process left there. ctx is for the duration of the
// call; its values (the logger) are used until Close.
func New(ctx context.Context, opts Options) (_ *FileSystem, err error) {
	f, err := prepare(ctx, opts)
	if err != nil {
		if opts.Takeover != nil {
			err = errors.Join(err, opts.Takeover.Device.Close())
		}
		return nil, fmt.Errorf("fs: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(context.WithoutCancel(ctx)))
		}
	}()
	if opts.Takeover != nil {
		f.conn, err = takeOver(f.export, f.exportDir(), *opts.Takeover)
	} else {
		f.conn, err = connect(f.export, f.exportDir())
	}
	if err != nil {
		return nil, fmt.Errorf("fs: %w", err)
	}
	if err = f.choose(ctx); err != nil {
		return nil, fmt.Errorf("fs: %w", err)
	}
	f.probeMapping(ctx)
	return f, nil
}

func prepare(ctx context.Context, opts Options) (*FileSystem, error) {
	root, err := filepath.Abs(opts.Root)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	if len(root) > maxRoot {
		return nil, fmt.Errorf("%s: path longer than %d bytes", root, maxRoot)
	}
	f := &FileSystem{root: root, opts: opts, warmers: semaphore.NewWeighted(2)}
	f.mu.mounts = map[key]*mounted{}
	f.clones.namespaces.mu.byName = map[string]*namespace{}
	f.mu.owned = map[string]map[*mounted]struct{}{}
	if err := f.clean(ctx); err != nil {
		return nil, err
	}
	dirs := []string{f.treesDir(), f.mappedDir(), f.exportDir()}
	if opts.Takeover != nil {
		dirs = dirs[:2] // the export is mounted and not served yet: even stat(2) would wait
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f.lifetime, f.end = context.WithCancel(context.WithoutCancel(ctx))
	f.export = newExport(f.lifetime, opts)
	return f, nil
}

// clean detaches the mounts of an earlier process, unless they are taken over. Mount
// points are not removed: they are needed again, and a full disk may have no space for
// new ones.
func (f *FileSystem) clean(ctx context.Context) error {
	dirs := []string{f.probeDir()}
	if f.opts.Takeover == nil {
		dirs = append(dirs, f.mappedDir(), f.exportDir(), f.treesDir())
	}
	return detachStale(ctx, dirs...)
}

func (f *FileSystem) exportDir() string { return filepath.Join(f.root, "f") }
func (f *FileSystem) treesDir() string  { return filepath.Join(f.root, "l") }
func (f *FileSystem) mappedDir() string { return filepath.Join(f.root, "m") }
func (f *FileSystem) probeDir() string  { return filepath.Join(f.root, "probe") }

// Driver returns the name of the driver: erofs, loop or fuse.
func (f *FileSystem) Driver() string { return string(f.driver.name()) }

// Reason says why it is that driver, and what was wrong with others that were tried.
func (f *FileSystem) Reason() string { return f.reason }

// Close unmounts everything, and waits until ctx ends at most. Reads in progress fail.
// Later calls do nothing. The mount points of trees are not removed: see clean.
func (f *FileSystem) Close(ctx context.Context) error {
	if !f.setClosed() {
		return nil
	}
	f.end()
	f.warming.Wait()
	err := errors.Join(removeEmptyClones(f.mappedDir()), removeEmpty(f.treesDir())) // not the ones with a mount
	err = errors.Join(err, f.unmountAll(ctx))
	if f.opts.Takeover != nil { // what was mounted before the takeover and not adopted
		err = errors.Join(err, detachStale(ctx, f.mappedDir(), f.treesDir()))
	}
	if f.conn != nil {
		err = errors.Join(err, f.conn.close(ctx))
	}
	err = errors.Join(err, f.export.close())
	if err != nil {
		return fmt.Errorf("fs: %w", err)
	}
	return nil
}
