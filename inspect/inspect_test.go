package inspect_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/inspect"
	"github.com/ladle-dev/ladle/internal/layouttest"
)

// update makes the images in testdata/formats anew, by the libraries of the formats, and
// the reports that are expected of them. Without it the images are what they were, whatever
// the libraries have become.
var update = flag.Bool("update", false, "write testdata anew")

const formats = "testdata/formats"

// TestReports compares the JSON form of reports on images of all formats.
func TestReports(t *testing.T) {
	if *update {
		writeFormats(t)
	}
	for _, tag := range tags(t) {
		t.Run(tag, func(t *testing.T) {
			got := report(t, depot.Reference{Layout: formats, Name: tag})
			golden := filepath.Join("testdata", tag+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the report is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestReportOfArchive compares the reports on a layout and on a tar archive of it.
func TestReportOfArchive(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "formats.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(formats)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags(t) {
		if want, got := report(t, depot.Reference{Layout: formats, Name: tag}), report(t, depot.Reference{Layout: archive, Name: tag}); !bytes.Equal(want, got) {
			t.Errorf("%s: the report is\n%s\nwant\n%s", tag, got, want)
		}
	}
}

// rangeless is an origin that serves no ranges.
type rangeless struct{ depot.Origin }

func (r rangeless) Blob(d digest.Digest) depot.Blob { return rangelessBlob{r.Origin.Blob(d)} }

type rangelessBlob struct{ depot.Blob }

func (rangelessBlob) Tail(context.Context, int64) ([]byte, int64, error) {
	return nil, 0, fetch.ErrNoRanges
}

// TestReportWithoutRanges: layers of a registry that serves no ranges are imported, also those
// with an index.
func TestReportWithoutRanges(t *testing.T) {
	origin, err := depot.Depot{}.Open(depot.Reference{Layout: formats, Name: "mixed"})
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	r, err := inspect.Inspect(t.Context(), rangeless{origin}, inspect.Options{Import: true})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []inspect.Format{inspect.Gzip, inspect.Zstd, inspect.Gzip, inspect.Gzip} {
		l := r.Images[0].Layers[n]
		if l.Format != want || l.Fetched != inspect.Imported || l.Reason != fetch.ErrNoRanges.Error() || l.BeforeRun != l.Size {
			t.Errorf("layer %d: %+v", n, l)
		}
	}
}

func tags(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(formats, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	var idx ocispec.Index
	if err := json.Unmarshal(b, &idx); err != nil {
		t.Fatal(err)
	}
	for _, m := range idx.Manifests {
		if tag := m.Annotations[ocispec.AnnotationRefName]; !strings.HasSuffix(tag, "-esgztoc") {
			all = append(all, tag)
		}
	}
	if len(all) < 10 {
		t.Fatalf("the layout has %q only", all)
	}
	return all
}

func report(t *testing.T, ref depot.Reference) []byte {
	t.Helper()
	origin, err := depot.Depot{}.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	r, err := inspect.Inspect(t.Context(), origin, inspect.Options{Import: ref.Name != "not-imported"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// writeFormats writes a layout with an image for each format and for each reason not to be
// lazy.
func writeFormats(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll("testdata"); err != nil {
		t.Fatal(err)
	}
	l := layouttest.New(t, formats)
	platform := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	plain := tarOf(t)
	diffID := digest.FromBytes(plain)
	layer := func(mediaType string, b []byte) layouttest.Layer {
		return layouttest.Layer{Descriptor: l.Blob(mediaType, b), DiffID: diffID}
	}
	gz := layer(ocispec.MediaTypeImageLayerGzip, gzipped(t, plain))
	lazy := built(t, l, plain, ocispec.MediaTypeImageLayerGzip, nil)
	prefetched := built(t, l, plain, ocispec.MediaTypeImageLayerGzip, nil, estargz.WithPrioritizedFiles([]string{"usr/bin/second"}))
	metadata := map[string]string{}
	chunked := built(t, l, plain, ocispec.MediaTypeImageLayerZstd, metadata, estargz.WithCompression(zstdCompression{
		&zstdchunked.Decompressor{}, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault, Metadata: metadata},
	}))
	outside := externaltoc.NewGzipCompressionWithLevel(nil, gzip.BestCompression).(*externaltoc.GzipCompression)
	external := built(t, l, plain, ocispec.MediaTypeImageLayerGzip, nil, estargz.WithCompression(outside))
	unnamed, wrong := lazy, lazy
	unnamed.Annotations = nil
	wrong.Annotations = map[string]string{estargz.TOCJSONDigestAnnotation: digest.FromString("of something else").String()}
	broken := built(t, l, plain, ocispec.MediaTypeImageLayerGzip, nil)
	broken.Descriptor = l.Blob(ocispec.MediaTypeImageLayerGzip, damaged(t, l, broken))

	images := map[string][]layouttest.Layer{
		"gzip":                 {gz},
		"zstd":                 {layer(ocispec.MediaTypeImageLayerZstd, zstded(t, plain))},
		"tar":                  {layer(ocispec.MediaTypeImageLayer, plain)},
		"docker-gzip":          {layer("application/vnd.docker.image.rootfs.diff.tar.gzip", gzipped(t, plain))},
		"estargz":              {lazy},
		"estargz-prefetch":     {prefetched},
		"estargz-external-toc": {external},
		"toc-lost":             {external}, // there is no image with the TOC
		"zstd-chunked":         {chunked},
		"erofs":                {layer("application/vnd.erofs.layer.v1", bytes.Repeat([]byte("erofs"), 4096))},
		"unknown":              {layer("application/vnd.example.layer", []byte("nothing that is known"))},
		"unnamed-toc":          {unnamed},
		"wrong-toc":            {wrong},
		"broken-toc":           {broken},
		"mixed":                {lazy, chunked, gz, lazy},
		"mixed-broken":         {lazy, gz, broken, lazy},
		"not-imported":         {lazy, gz, lazy}, // see report
		"no-layers":            {},
	}
	for _, tag := range slices.Sorted(maps.Keys(images)) {
		l.Tag(l.Image(platform, images[tag]...), tag)
	}
	var toc bytes.Buffer
	if _, err := outside.WriteTOCTo(&toc); err != nil {
		t.Fatal(err)
	}
	of := layer(ocispec.MediaTypeImageLayerGzip, toc.Bytes())
	of.Annotations = map[string]string{"containerd.io/snapshot/stargz/layer.digest": external.Digest.String()}
	l.Tag(l.Image(platform, of), "estargz-external-toc-esgztoc")
}

type zstdCompression struct {
	*zstdchunked.Decompressor
	*zstdchunked.Compressor
}

// tarOf returns a tar with a few files, one of them with two names.
func tarOf(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	when := time.Unix(1_700_000_000, 0)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "usr/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "usr/bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "usr/bin/first", Mode: 0o755, Size: 100},
		{Typeflag: tar.TypeReg, Name: "usr/bin/second", Mode: 0o755, Size: 9000},
		{Typeflag: tar.TypeLink, Name: "usr/bin/third", Linkname: "usr/bin/second", Mode: 0o755},
		{Typeflag: tar.TypeSymlink, Name: "usr/bin/fourth", Linkname: "third", Mode: 0o777},
		{Typeflag: tar.TypeReg, Name: "usr/empty", Mode: 0o644},
	} {
		h.ModTime = when
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte(h.Name[:1]), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// built returns a layer that the library makes of a tar.
func built(t *testing.T, l *layouttest.Layout, plain []byte, mediaType string, metadata map[string]string, opts ...estargz.Option) layouttest.Layer {
	t.Helper()
	blob, err := estargz.Build(io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain))),
		slices.Concat([]estargz.Option{estargz.WithParallelism(1)}, opts)...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := blob.Close(); err != nil {
		t.Fatal(err)
	}
	of := layouttest.Layer{Descriptor: l.Blob(mediaType, b), DiffID: blob.DiffID()}
	of.Annotations = map[string]string{
		estargz.TOCJSONDigestAnnotation:         blob.TOCDigest().String(),
		estargz.StoreUncompressedSizeAnnotation: "16384",
	}
	for name, value := range metadata {
		of.Annotations[name] = value
	}
	return of
}

// damaged returns the blob of an eStargz layer with a TOC that cannot be decompressed.
func damaged(t *testing.T, l *layouttest.Layout, of layouttest.Layer) []byte {
	t.Helper()
	b, err := os.ReadFile(l.Path(of.Digest))
	if err != nil {
		t.Fatal(err)
	}
	b = slices.Clone(b)
	clear(b[len(b)-estargz.FooterSize-200 : len(b)-estargz.FooterSize])
	return b
}

func gzipped(t *testing.T, b []byte) []byte {
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

func zstded(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}
