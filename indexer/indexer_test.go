package indexer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/convert"
	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/indexer"
	"github.com/ladle-dev/ladle/inspect"
	"github.com/ladle-dev/ladle/internal/layouttest"
	"github.com/ladle-dev/ladle/layer"
)

var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// tarOf is a tar of some files.
func tarOf(t *testing.T, seed byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for n, size := range []int{0, 10, 5000, 3 << 20} {
		content := make([]byte, size)
		if _, err := rand.NewChaCha8([32]byte{seed, byte(n)}).Read(content); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: string(rune('a' + n)), Mode: 0o644, Size: int64(size)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func add(l *layouttest.Layout, mediaType string, blob, tarball []byte) layouttest.Layer {
	return layouttest.Layer{Descriptor: l.Blob(mediaType, blob), DiffID: digest.FromBytes(tarball)}
}

// run indexes the image that a layout has under the tag.
func run(t *testing.T, l *layouttest.Layout, tag string) ([]indexer.Image, error) {
	t.Helper()
	ref := depot.Reference{Layout: l.Dir, Name: tag}
	o, err := depot.Depot{}.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	a, err := depot.Depot{}.Attach(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	return indexer.Index(t.Context(), indexer.Options{Origin: o, Attachment: a})
}

func report(t *testing.T, l *layouttest.Layout, tag string, trust layer.Trust) inspect.Report {
	t.Helper()
	o, err := depot.Depot{}.Open(depot.Reference{Layout: l.Dir, Name: tag})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := inspect.Inspect(t.Context(), o, inspect.Options{Import: true, Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files returns the names and contents of all files of a layout.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(path)
			all[path] = digest.FromBytes(b).String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestIndex indexes an image with layers of all forms, and of two platforms; again; and looks
// at what is there.
func TestIndex(t *testing.T) {
	l := layouttest.New(t, filepath.Join(t.TempDir(), "layout"))
	first, second, third := tarOf(t, 1), tarOf(t, 2), tarOf(t, 3)
	frame, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := l.Image(amd64, add(l, ocispec.MediaTypeImageLayerGzip, packed(t, first), first),
		add(l, ocispec.MediaTypeImageLayer, second, second),
		add(l, ocispec.MediaTypeImageLayerZstd, frame.EncodeAll(third, nil), third),
		layouttest.Layer{Descriptor: l.Blob("application/vnd.erofs.layer.v1", []byte("erofs")), DiffID: digest.FromString("erofs")})
	arm := l.Image(ocispec.Platform{OS: "linux", Architecture: "arm64"}, add(l, ocispec.MediaTypeImageLayerGzip, packed(t, first), first))
	idx := l.Document(ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{plain, arm}})
	l.Tag(idx, "app")
	before := files(t, l.Dir)
	images, err := run(t, l, "app")
	if err != nil {
		t.Fatal(err)
	}
	want := []indexer.Action{indexer.Indexed, indexer.Indexed, indexer.Left, indexer.Left}
	for n, of := range images[0].Layers {
		if of.Action != want[n] {
			t.Errorf("layer %d is %+v, want %s", n, of, want[n])
		}
	}
	if len(images) != 2 || images[1].Artifact.Digest == "" || images[0].Artifact.Digest == images[1].Artifact.Digest {
		t.Fatalf("it made %+v", images)
	}
	after := files(t, l.Dir)
	for path, content := range before {
		if after[path] != content && filepath.Base(path) != ocispec.ImageIndexFile {
			t.Errorf("%s is another one", path)
		}
	}
	again, err := run(t, l, "app")
	if err != nil || again[0].Artifact.Digest != images[0].Artifact.Digest {
		t.Errorf("again: %+v, %v", again, err)
	}
	for path, content := range files(t, l.Dir) {
		if after[path] != content {
			t.Errorf("doing it again changed %s", path)
		}
	}
	for trust, lazy := range map[layer.Trust]bool{layer.TrustAttached: true, layer.TrustBound: false} {
		of := report(t, l, "app", trust).Images[0].Layers
		for n := range want {
			if of[n].Lazy != (lazy && want[n] == indexer.Indexed) || (of[n].Index != nil) != (want[n] == indexer.Indexed) {
				t.Errorf("trust %q: layer %d is %+v", trust, n, of[n])
			}
		}
		if x := of[0].Index; x == nil || x.Source != inspect.Attached || x.Files != 4 || x.Contents != 10+5000+3<<20 {
			t.Errorf("the index is %+v", x)
		}
	}
	checkDocument(t, l, images[0].Layers[0], digest.FromBytes(first))
}

// checkDocument reads the document that was made of a layer.
func checkDocument(t *testing.T, l *layouttest.Layout, of indexer.Layer, diffID digest.Digest) {
	t.Helper()
	b, err := os.ReadFile(l.Path(of.Document.Digest))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := index.DecodeDocument(b)
	if err != nil || doc.Blob != of.Digest || doc.BlobSize != of.Size || doc.DiffID != diffID {
		t.Errorf("the document is of %+v, %v", doc, err)
	}
	if int64(len(b)) > of.Size/20 {
		t.Errorf("the document has %d bytes, for a blob of %d", len(b), of.Size)
	}
}

// TestReferrersStay: what else refers to the image stays in the list, and an older artifact of
// ours does not.
func TestReferrersStay(t *testing.T) {
	l := layouttest.New(t, filepath.Join(t.TempDir(), "layout"))
	tarball := tarOf(t, 1)
	img := l.Image(amd64, add(l, ocispec.MediaTypeImageLayerGzip, packed(t, tarball), tarball))
	l.Tag(img, "app")
	tag := strings.Replace(img.Digest.String(), ":", "-", 1)
	signature := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/example", Digest: digest.FromString("signature"), Size: 9}
	older := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: index.ArtifactType, Digest: digest.FromString("older"), Size: 5}
	l.Tag(l.Document(ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{older, signature}}), tag)
	images, err := run(t, l, "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := depot.Depot{}.Open(depot.Reference{Layout: l.Dir, Name: tag})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	root, err := o.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for of, want := range map[digest.Digest]bool{signature.Digest: true, older.Digest: false, images[0].Artifact.Digest: true} {
		if strings.Contains(string(root.Bytes), of.String()) != want {
			t.Errorf("the list is %s: %s is there: %v", root.Bytes, of, !want)
		}
	}
}

// TestNothingToIndex: a lazy image gets no artifact.
func TestNothingToIndex(t *testing.T) {
	l := layouttest.New(t, filepath.Join(t.TempDir(), "layout"))
	tarball := tarOf(t, 1)
	l.Tag(l.Image(amd64, add(l, ocispec.MediaTypeImageLayerGzip, packed(t, tarball), tarball)), "app")
	o, err := depot.Depot{}.Open(depot.Reference{Layout: l.Dir, Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	to, err := depot.Depot{}.Create(depot.Reference{Layout: l.Dir, Name: "lazy"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := convert.Convert(t.Context(), convert.Options{Origin: o, Target: to}); err != nil {
		t.Fatal(err)
	}
	images, err := run(t, l, "lazy")
	if err != nil || images[0].Artifact.Digest != "" || images[0].Layers[0].Action != indexer.Lazy {
		t.Errorf("it made %+v, %v", images, err)
	}
}

// TestWrongLayers: a layer that is not what the image says is an error, and nothing is
// attached; one that is no tar has no index.
func TestWrongLayers(t *testing.T) {
	l := layouttest.New(t, filepath.Join(t.TempDir(), "layout"))
	tarball := tarOf(t, 1)
	blob := packed(t, tarball)
	l.Tag(l.Image(amd64, layouttest.Layer{Descriptor: l.Blob(ocispec.MediaTypeImageLayerGzip, blob), DiffID: digest.FromString("other")}), "other-tar")
	other := l.Blob(ocispec.MediaTypeImageLayerGzip, packed(t, tarOf(t, 2)))
	l.Tag(l.Image(amd64, layouttest.Layer{Descriptor: other, DiffID: digest.FromBytes(tarball)}), "other-blob")
	noTar := []byte(strings.Repeat("no tar", 1000))
	l.Tag(l.Image(amd64, add(l, ocispec.MediaTypeImageLayer, noTar, noTar)), "no-tar")
	if err := os.WriteFile(l.Path(other.Digest), blob, 0o600); err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{"other-tar": "the uncompressed content has the digest", "other-blob": ""} {
		images, err := run(t, l, tag)
		if err == nil || !strings.Contains(err.Error(), want) || images != nil {
			t.Errorf("%s: %+v, %v", tag, images, err)
		}
	}
	images, err := run(t, l, "no-tar")
	if err != nil || images[0].Layers[0].Action != indexer.Left || !strings.Contains(images[0].Layers[0].Reason, "tar") {
		t.Errorf("no-tar: %+v, %v", images, err)
	}
	b, err := os.ReadFile(filepath.Join(l.Dir, ocispec.ImageIndexFile))
	if err != nil || strings.Contains(string(b), `"sha256-`) {
		t.Errorf("something is attached: %s, %v", b, err)
	}
}

// TestCancelled ends a run.
func TestCancelled(t *testing.T) {
	l := layouttest.New(t, filepath.Join(t.TempDir(), "layout"))
	tarball := tarOf(t, 1)
	l.Tag(l.Image(amd64, add(l, ocispec.MediaTypeImageLayerGzip, packed(t, tarball), tarball)), "app")
	ref := depot.Reference{Layout: l.Dir, Name: "app"}
	o, err := depot.Depot{}.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	a, err := depot.Depot{}.Attach(ref)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopper := stopper{cancel}
	if _, err := indexer.Index(ctx, indexer.Options{Origin: o, Attachment: a, Progress: stopper}); err == nil || ctx.Err() == nil {
		t.Errorf("it ended with %v", err)
	}
	if names := slices.Sorted(maps.Keys(files(t, l.Dir))); slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, ".ladle-") }) {
		t.Errorf("there are temporary files: %q", names)
	}
}

// stopper cancels at the first byte.
type stopper struct{ cancel context.CancelFunc }

func (stopper) Began([]digest.Digest)                  {}
func (s stopper) Advanced(digest.Digest, int64, int64) { s.cancel() }
func (stopper) Finished(indexer.Layer)                 {}
