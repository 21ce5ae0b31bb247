package depot

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tocSuffix ends the tag of the image with the external TOCs of another one.
const tocSuffix = "-esgztoc"

// layoutOrigin is an image in an OCI image layout, a directory or a tar archive of one.
type layoutOrigin struct {
	Reference
	files layoutFiles
}

// layoutFiles are the files of a layout.
type layoutFiles interface {
	// open returns a file by its path in the layout. It remains open until close.
	open(name string) (*io.SectionReader, error)
	close() error
}

func openLayout(ref Reference) (*layoutOrigin, error) {
	info, err := os.Stat(ref.Layout)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &layoutOrigin{ref, &layoutDir{dir: ref.Layout}}, nil
	}
	archive, err := openArchive(ref.Layout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref.Layout, err)
	}
	return &layoutOrigin{ref, archive}, nil
}

func (o *layoutOrigin) Root(context.Context) (Document, error) {
	desc, err := o.find(o.Name)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", o.Layout, err)
	}
	return o.document(desc.Digest)
}

func (o *layoutOrigin) Manifest(_ context.Context, desc ocispec.Descriptor) (Document, error) {
	return o.document(desc.Digest)
}

func (o *layoutOrigin) document(dgst digest.Digest) (Document, error) {
	var d Document
	b, err := o.small(blobPath(dgst), dgst.Validate())
	if err == nil {
		d, err = newDocument(b, dgst)
	}
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", o.Layout, err)
	}
	return d, nil
}

func (o *layoutOrigin) Blob(dgst digest.Digest) Blob {
	if err := dgst.Validate(); err != nil {
		return fileBlob{err: err}
	}
	f, err := o.files.open(blobPath(dgst))
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Layout, err)
	}
	return fileBlob{f, err}
}

func (o *layoutOrigin) TOCs(context.Context) ([]byte, error) {
	desc, err := o.find(o.Name + tocSuffix)
	if errors.Is(err, os.ErrNotExist) { // of the image, or of the layout
		err = fmt.Errorf("image %q: %w", o.Name+tocSuffix, os.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	d, err := o.document(desc.Digest)
	return d.Bytes, err
}

func (o *layoutOrigin) Close() error { return o.files.close() }

// find returns what a tag names. Without a tag the layout must have one image.
func (o *layoutOrigin) find(tag string) (ocispec.Descriptor, error) {
	b, err := o.small(ocispec.ImageIndexFile, nil)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var idx ocispec.Index
	if err := json.Unmarshal(b, &idx); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	var tags []string
	var images []ocispec.Descriptor
	for _, m := range idx.Manifests {
		if tag != "" && named(m, tag) {
			return m, nil
		}
		name := m.Annotations[ocispec.AnnotationRefName]
		if !referrersTag.MatchString(name) {
			images, tags = append(images, m), append(tags, name)
		}
	}
	if tag == "" && len(images) == 1 {
		return images[0], nil
	}
	slices.Sort(tags)
	if tag == "" {
		return ocispec.Descriptor{}, fmt.Errorf("%d images: say which, of %q", len(tags), tags)
	}
	return ocispec.Descriptor{}, fmt.Errorf("image %q: %w; there are %q", tag, os.ErrNotExist, tags)
}

// referrersTag matches the tags of lists of what refers to an image (fetch.ReferrersTag).
var referrersTag = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}$`)

// named reports whether a manifest of index.json has a tag: under OCI's annotation, or as
// the image's whole name under that of containerd.
func named(m ocispec.Descriptor, tag string) bool {
	return m.Annotations[ocispec.AnnotationRefName] == tag || m.Annotations[images.AnnotationImageName] == tag
}

// small reads a small file, unless err is not nil.
func (o *layoutOrigin) small(name string, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	f, err := o.files.open(name)
	if err != nil {
		return nil, err
	}
	if f.Size() > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, of at most %d", name, f.Size(), maxDocument)
	}
	return io.ReadAll(f)
}

func blobPath(dgst digest.Digest) string {
	algorithm, hex, _ := strings.Cut(string(dgst), ":")
	return path.Join(ocispec.ImageBlobsDir, algorithm, hex)
}

// layoutDir are the files of a directory. Each is opened for one reader, and closed by
// the garbage collector with it, since readers of ranges share it.
type layoutDir struct{ dir string }

func (l *layoutDir) open(name string) (*io.SectionReader, error) {
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return io.NewSectionReader(f, 0, info.Size()), nil
}

func (l *layoutDir) close() error { return nil }

// archive are the files of a tar archive.
type archive struct {
	file  *os.File
	files map[string]*io.SectionReader
}

func openArchive(name string) (*archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a := &archive{f, map[string]*io.SectionReader{}}
	if err := a.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("tar archive, not compressed: %w", err), f.Close())
	}
	return a, nil
}

// read finds the files of the archive. Package tar reads no byte behind a header before it
// is asked to.
func (a *archive) read() error {
	for r := tar.NewReader(a.file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		at, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		a.files[path.Clean(h.Name)] = io.NewSectionReader(a.file, at, h.Size)
	}
}

func (a *archive) open(name string) (*io.SectionReader, error) {
	f, ok := a.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, os.ErrNotExist)
	}
	return io.NewSectionReader(f, 0, f.Size()), nil
}

func (a *archive) close() error { return a.file.Close() }
