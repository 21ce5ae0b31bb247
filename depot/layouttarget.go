package depot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
)

// layoutTarget is an OCI image layout in a directory, which is made if it is not there.
type layoutTarget struct{ Reference }

func createLayout(ref Reference) (*layoutTarget, error) {
	t := &layoutTarget{ref}
	if ref.Name == "" {
		return nil, fmt.Errorf("%s: a tag is needed, as in %s:TAG", ref, ref)
	}
	if info, err := os.Stat(ref.Layout); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s: archives can be read, and not written: name a directory", ref.Layout)
	}
	return t, os.MkdirAll(filepath.Join(ref.Layout, ocispec.ImageBlobsDir), 0o755)
}

// Put implements Target.
func (t *layoutTarget) Put(ctx context.Context, desc ocispec.Descriptor, _ Origin, open Content) (err error) {
	if err := desc.Digest.Validate(); err != nil {
		return err
	}
	name := filepath.Join(t.Layout, blobPath(desc.Digest))
	if info, err := os.Stat(name); err == nil && info.Size() == desc.Size {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ladle-")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := t.write(ctx, f, desc, open); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (t *layoutTarget) write(ctx context.Context, f *os.File, desc ocispec.Descriptor, open Content) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	verifier := desc.Digest.Verifier()
	n, err := io.Copy(io.MultiWriter(f, verifier), stopping{ctx, r})
	switch {
	case err != nil:
		return err
	case n != desc.Size:
		return fmt.Errorf("%s has %d bytes, and not %d", desc.Digest, n, desc.Size)
	case !verifier.Verified():
		return fmt.Errorf("content has not digest %s", desc.Digest)
	}
	return errors.Join(f.Chmod(0o644), f.Sync())
}

// stopping is a reader that ends with a context.
type stopping struct {
	ctx context.Context
	io.Reader
}

func (s stopping) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(p)
}

// Name implements Target. Other tags of the layout stay as they are.
func (t *layoutTarget) Name(ctx context.Context, d Document) error {
	if err := t.Put(ctx, d.Descriptor, nil, Bytes(d.Bytes)); err != nil {
		return err
	}
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(t.Layout, ocispec.ImageLayoutFile), version); err != nil {
		return err
	}
	name := filepath.Join(t.Layout, ocispec.ImageIndexFile)
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &idx)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", name, err)
	}
	idx.Manifests = slices.DeleteFunc(idx.Manifests, func(m ocispec.Descriptor) bool { return named(m, t.Reference.Name) })
	desc := d.Descriptor
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: t.Reference.Name}
	idx.Manifests = append(idx.Manifests, desc)
	if b, err = json.Marshal(idx); err != nil {
		return err
	}
	return replace(name, b)
}

// replace replaces the content of a file that everybody may read.
func replace(name string, b []byte) (err error) {
	f, err := durable.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return f.Commit()
}

// lock takes the lock of the layout, which another process can have for a moment.
func (t *layoutTarget) lock() (unlock func() error, err error) {
	dir, err := os.Open(t.Layout)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", t.Layout, err), dir.Close())
	}
	return dir.Close, nil
}

// Close implements Target.
func (t *layoutTarget) Close() error { return nil }
