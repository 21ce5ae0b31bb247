package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// smallRecipes are those that take no more than a second.
var smallRecipes = []string{"busybox", "shell", "twice", "hostile-names", "hostile-nodes", "hostile-whiteouts", "hostile-escape",
	"hostile-through-link", "hostile-parents"}

func testCache(t *testing.T) *Cache { return &Cache{Dir: t.TempDir(), Log: t.Logf} }

// Every lazy format holds the files of the Gzip form, has the digest of its TOC
// in the manifest, and its TOC can be read by the formats' own library.
func TestFormatsHoldTheSameFiles(t *testing.T) {
	cache := testCache(t)
	for _, name := range smallRecipes {
		plain, err := cache.Image(t.Context(), name, Gzip)
		if err != nil {
			t.Fatal(err)
		}
		if lazy, err := plain.Lazy(); lazy || err != nil {
			t.Errorf("%s: the plain form is lazy: %v, %v", name, lazy, err)
		}
		for _, f := range Formats() {
			if f.Plain() {
				continue
			}
			t.Run(name+"/"+string(f), func(t *testing.T) {
				img, err := cache.Image(t.Context(), name, f)
				if err != nil {
					t.Fatal(err)
				}
				if lazy, err := img.Lazy(); !lazy || err != nil {
					t.Errorf("lazy: %v, %v", lazy, err)
				}
				compareLayers(t, plain, img)
			})
		}
	}
}

func compareLayers(t *testing.T, plain, img *Image) {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := plain.Layers()
	got, _ := img.Layers()
	if len(got) != len(want) {
		t.Fatalf("%d layers, want %d", len(got), len(want))
	}
	for i := range want {
		a, b := layerFiles(t, want[i]), layerFiles(t, got[i])
		landmark := ".no.prefetch.landmark"
		if img.Format == EStargzPrefetch && img.Name == "busybox" {
			landmark = ".prefetch.landmark"
		}
		if b[landmark] == "" {
			t.Errorf("layer %d has no %s", i, landmark)
		}
		for _, own := range []string{landmark, estargz.TOCTarName} {
			delete(b, own)
		}
		if !maps.Equal(a, b) {
			t.Errorf("layer %d holds\n%v\nwant\n%v", i, slices.Sorted(maps.Keys(b)), slices.Sorted(maps.Keys(a)))
		}
		checkTOC(t, img, got[i], manifest.Layers[i])
	}
}

// The plain forms are of the same tars, and no more lazy than the first one.
func TestPlainFormatsHoldTheSameTars(t *testing.T) {
	cache := testCache(t)
	for _, name := range smallRecipes {
		want, err := cache.Image(t.Context(), name, Gzip)
		if err != nil {
			t.Fatal(err)
		}
		for f, mediaType := range map[Format]types.MediaType{Zstd: types.OCILayerZStd, Uncompressed: types.OCIUncompressedLayer} {
			got, err := cache.Image(t.Context(), name, f)
			if err != nil {
				t.Fatal(err)
			}
			if lazy, err := got.Lazy(); lazy || err != nil {
				t.Errorf("%s as %s is lazy: %v, %v", name, f, lazy, err)
			}
			before, after := must(want.Layers())(t), must(got.Layers())(t)
			if len(before) != len(after) {
				t.Fatalf("%s as %s has %d layers, want %d", name, f, len(after), len(before))
			}
			for i := range after {
				layerFiles(t, after[i]) // compares the digest of the tar with the diffID
				if a, b := must(before[i].DiffID())(t), must(after[i].DiffID())(t); a != b {
					t.Errorf("%s as %s: layer %d is %s, want %s", name, f, i, b, a)
				}
				if got := must(after[i].MediaType())(t); got != mediaType {
					t.Errorf("%s as %s: layer %d has the media type %s", name, f, i, got)
				}
			}
		}
	}
}

// layerFiles describes each entry of a layer. A name that comes twice counts
// with the last entry, as it does when the layer is applied.
func layerFiles(t *testing.T, l v1.Layer) map[string]string {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	diffID, want := sha256.New(), must(l.DiffID())(t)
	tee := io.TeeReader(r, diffID)
	files := map[string]string{}
	for tr := tar.NewReader(tee); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		io.Copy(sum, tr)
		files[cleanName(h.Name)] = fmt.Sprintf("%c %o %d:%d %d %v %q %d:%d %v %x", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size,
			h.ModTime.Unix(), cleanName(h.Linkname), h.Devmajor, h.Devminor, xattrs(h), sum.Sum(nil))
	}
	io.Copy(io.Discard, tee)
	if got := fmt.Sprintf("%x", diffID.Sum(nil)); got != want.Hex {
		t.Errorf("the tar's digest is %s, the configuration says %s", got, want.Hex)
	}
	return files
}

func xattrs(h *tar.Header) []string {
	var list []string
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, xattrRecord) {
			list = append(list, fmt.Sprintf("%s=%q", k, v))
		}
	}
	slices.Sort(list)
	return list
}

func checkTOC(t *testing.T, img *Image, l v1.Layer, d v1.Descriptor) {
	t.Helper()
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	decompressors := []estargz.Decompressor{&estargz.GzipDecompressor{}}
	switch img.Format {
	case ZstdChunked:
		decompressors = []estargz.Decompressor{&zstdchunked.Decompressor{}}
		if d.Annotations[zstdchunked.ManifestPositionAnnotation] == "" || d.Annotations[zstdchunked.ManifestChecksumAnnotation] == "" {
			t.Errorf("annotations %v", d.Annotations)
		}
	case EStargzExternalTOC:
		decompressors = []estargz.Decompressor{externaltoc.NewGzipDecompressor(func() ([]byte, error) { return externalTOC(img, d.Digest) })}
	}
	opened, err := estargz.Open(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), estargz.WithDecompressors(decompressors...))
	if err != nil {
		t.Fatal(err)
	}
	if got := opened.TOCDigest().String(); got != d.Annotations[estargz.TOCJSONDigestAnnotation] {
		t.Errorf("TOC digest is %s, annotations are %v", got, d.Annotations)
	}
}

// externalTOC is the TOC of a layer in the image of the TOCs.
func externalTOC(img *Image, of v1.Hash) ([]byte, error) {
	manifest, err := img.TOC.Manifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Layers {
		if d.Annotations[externalTOCOf] == of.String() {
			l, err := img.TOC.LayerByDigest(d.Digest)
			if err != nil {
				return nil, err
			}
			r, err := l.Compressed()
			if err != nil {
				return nil, err
			}
			defer r.Close()
			return io.ReadAll(r)
		}
	}
	return nil, fmt.Errorf("no TOC of %s in %v", of, manifest.Layers)
}

// Two caches make the same image of the same recipe.
func TestRecipesAreReproducible(t *testing.T) {
	first, second := testCache(t), testCache(t)
	for _, name := range []string{"busybox", "hostile-nodes"} {
		for _, f := range []Format{Gzip, EStargz, ZstdChunked} {
			a, err := first.Image(t.Context(), name, f)
			if err != nil {
				t.Fatal(err)
			}
			b, err := second.Image(t.Context(), name, f)
			if err != nil {
				t.Fatal(err)
			}
			if x, y := must(a.Digest())(t), must(b.Digest())(t); x != y {
				t.Errorf("%s as %s is %s and %s", name, f, x, y)
			}
		}
	}
}

func TestLayered(t *testing.T) {
	const n, size = 3, 6 << 20
	made, err := testCache(t).Make(t.Context(), Layered(n, size), Gzip)
	if err != nil {
		t.Fatal(err)
	}
	layers := must(made.Layers())(t)
	if len(layers) != n {
		t.Fatalf("%d layers", len(layers))
	}
	var compressed int64
	for _, l := range layers {
		compressed += must(l.Size())(t)
		if files := layerFiles(t, l); len(files) < 30 {
			t.Errorf("a layer has %d files", len(files))
		}
	}
	got := must(made.UncompressedSize())(t)
	if got < size || got > size*11/10 || compressed < got/5 || compressed > got/2 {
		t.Errorf("%d bytes of tar, %d compressed", got, compressed)
	}
}

func TestUnknownNames(t *testing.T) {
	if _, err := testCache(t).Image(t.Context(), "nothing", Gzip); err == nil || !strings.Contains(err.Error(), "busybox") {
		t.Errorf("%v: want an error that lists the recipes", err)
	}
	if _, err := testCache(t).Image(t.Context(), "busybox", "nothing"); err == nil {
		t.Error("want an error")
	}
}

func TestDifference(t *testing.T) {
	lower := treeOf(t, entries(map[string]string{"a/kept": "x", "a/changed": "x", "one": "x"},
		dir("a", 0o755), reg("a/kept", 0o644, 0), reg("a/changed", 0o644, 0), dir("gone", 0o755), reg("gone/inside", 0o644, 0),
		reg("becomes dir", 0o644, 0), dir("becomes file", 0o755), reg("becomes file/inside", 0o644, 0),
		reg("one", 0o644, 0), hardlink("two", reg("one", 0o644, 0)), reg("mode", 0o644, 0)))
	upper := treeOf(t, entries(map[string]string{"a/kept": "x", "a/changed": "y", "one": "x"},
		dir("a", 0o755), reg("a/kept", 0o644, 0), reg("a/changed", 0o644, 0),
		dir("becomes dir", 0o755), reg("becomes dir/inside", 0o644, 0), reg("becomes file", 0o644, 0),
		reg("one", 0o644, 0), hardlink("a/three", reg("one", 0o644, 0)), reg("mode", 0o600, 0)))
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := upper.difference(lower)(w); err != nil {
		t.Fatal(err)
	}
	var got []string
	w.Close()
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if err != nil {
			break
		}
		got = append(got, fmt.Sprintf("%c %s %s", h.Typeflag, h.Name, h.Linkname))
	}
	// The group is {a/three, one}: its first name holds the content.
	want := []string{"5 a/ ", "0 a/changed ", "0 a/three ", "5 becomes dir/ ", "0 becomes dir/inside ", "0 becomes file ",
		"0 .wh.gone ", "0 mode ", "1 one a/three", "0 .wh.two "}
	if !slices.Equal(got, want) {
		t.Errorf("the difference is\n%q\nwant\n%q", got, want)
	}
}

func treeOf(t *testing.T, l Layer) *tree {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := tar.NewWriter(f)
	if err := errors.Join(l(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	tree, err := readTree(f)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
