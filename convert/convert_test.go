package convert_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/convert"
	"github.com/ladle-dev/ladle/inspect"
	"github.com/ladle-dev/ladle/internal/layouttest"
)

// formatOf is how package inspect names the formats.
var formatOf = map[convert.Format]inspect.Format{convert.EStargz: inspect.EStargz, convert.ZstdChunked: inspect.ZstdChunked}

// A converted image is lazy by the rules of package layer, and its tar is the original one,
// byte for byte; in eStargz with two entries more.
func TestConvertedLayers(t *testing.T) {
	l := newLab(t)
	original := usual(t)
	empty := tarOf(t)
	var layers []layouttest.Layer
	for _, mediaType := range []string{
		ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd, ocispec.MediaTypeImageLayer,
		"application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.diff.tar",
	} {
		layers = append(layers, plain(t, l.Layout, mediaType, original))
	}
	layers = append(layers, plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, empty))
	layers[0].Annotations = map[string]string{"org.example.of": "layer", "containerd.io/snapshot/stargz/toc.digest": "outdated"}
	l.Tag(l.Image(amd64, layers...), "plain")
	source := l.images("plain").All[0]
	for _, f := range convert.Formats() {
		t.Run(string(f), func(t *testing.T) {
			l := lab{l.Layout, t, l.tmp}
			tag := strings.ReplaceAll(string(f), ":", "-")
			result := l.convert("plain", tag, convert.Options{Format: f})
			for n, of := range result.Images[0].Layers {
				want := original
				if n == 5 {
					want = empty
				}
				checkTar(t, f, l.tar(of), want)
				if same := of.DiffID == digest.FromBytes(want); same != (f == convert.ZstdChunked) {
					t.Errorf("layer %d has the diffID of the original: %v", n, same)
				}
				if of.Action != convert.Converted {
					t.Errorf("layer %d is %s", n, of.Action)
				}
			}
			for n, of := range l.report(tag).Images[0].Layers {
				if !of.Lazy || of.Format != formatOf[f] {
					t.Errorf("layer %d: format %s, lazy: %v, %s", n, of.Format, of.Lazy, of.Reason)
				}
				if n < 5 && (of.Index.Files != 4 || of.Index.Chunks != 4) {
					t.Errorf("layer %d has %d files in %d chunks", n, of.Index.Files, of.Index.Chunks)
				}
			}
			made := l.images(tag).All[0]
			if got := made.Manifest.Layers[0].Annotations; got["org.example.of"] != "layer" {
				t.Errorf("annotations of layer 0 are %v", got)
			}
			if !reflect.DeepEqual(made.Manifest.Annotations, source.Manifest.Annotations) {
				t.Errorf("annotations of the manifest are %v", made.Manifest.Annotations)
			}
			if !reflect.DeepEqual(config(t, made.Config), config(t, source.Config)) {
				t.Errorf("the configuration is\n%s\nwas\n%s", made.Config, source.Config)
			}
			if same := bytes.Equal(made.Config, source.Config); same != (f == convert.ZstdChunked) {
				t.Errorf("the configuration is the same: %v", same)
			}
		})
	}
}

func checkTar(t *testing.T, f convert.Format, got, want []byte) {
	t.Helper()
	if f == convert.ZstdChunked {
		if !bytes.Equal(got, want) {
			t.Errorf("the tar has the entries %q, want %q", names(t, got), names(t, want))
		}
		return
	}
	all := names(t, got)
	if !slices.Equal(all, slices.Concat([]string{".no.prefetch.landmark"}, names(t, want), []string{"stargz.index.json"})) {
		t.Errorf("the tar has the entries %q, the original %q", all, names(t, want))
	}
	const landmark, end = 1024, 1024
	if !bytes.Equal(got[landmark:][:len(want)-end], want[:len(want)-end]) {
		t.Error("the entries have other bytes")
	}
}

// The same image gives the same digests, whatever the number of CPUs, and also if a part
// ends within it.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	l := newLab(t)
	files := []file{directory("d")}
	for n := range 3 {
		files = append(files, regular(fmt.Sprintf("d/%d", n), words(byte(n), 12<<20)))
	}
	big := tarOf(t, files...)
	l.Tag(l.Image(amd64, plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, usual(t)), plain(t, l.Layout, ocispec.MediaTypeImageLayer, big)), "plain")
	for _, f := range convert.Formats() {
		var want digest.Digest
		for _, cpus := range []int{1, 4} {
			before := runtime.GOMAXPROCS(cpus)
			result := l.convert("plain", fmt.Sprintf("made-%d", cpus), convert.Options{Format: f})
			runtime.GOMAXPROCS(before)
			checkTar(t, f, l.tar(result.Images[0].Layers[1]), big)
			if want == "" {
				want = result.Root.Digest
			}
			if result.Root.Digest != want {
				t.Errorf("%s with %d CPUs: %s, with one %s", f, cpus, result.Root.Digest, want)
			}
		}
	}
}

// What has the format already is not converted again, nor is what is no tar.
func TestLayersThatAreCopied(t *testing.T) {
	l := newLab(t)
	l.Tag(l.Image(amd64, plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, usual(t))), "plain")
	for _, f := range convert.Formats() {
		other := convert.EStargz
		if f == other {
			other = convert.ZstdChunked
		}
		first := l.convert("plain", "first", convert.Options{Format: f})
		again := l.convert("first", "again", convert.Options{Format: f})
		if again.Images[0].Layers[0].Action != convert.Copied || first.Root.Digest != again.Root.Digest {
			t.Errorf("%s: the layer is %s, the image %s, and was %s", f, again.Images[0].Layers[0].Action, again.Root.Digest, first.Root.Digest)
		}
		// From one format to the other the entries that belong to the first are gone.
		back := l.convert("first", "back", convert.Options{Format: other})
		checkTar(t, other, l.tar(back.Images[0].Layers[0]), usual(t))
	}
	strange := l.Blob("application/vnd.erofs.layer.v1", bytes.Repeat([]byte("erofs"), 1000))
	foreign := ocispec.Descriptor{
		//lint:ignore SA1019 images have them
		MediaType: ocispec.MediaTypeImageLayerNonDistributableGzip, //nolint:staticcheck // as above
		Digest:    digest.FromString("elsewhere"), Size: 9, URLs: []string{"https://example.org/elsewhere"},
	}
	lazy := l.images("first").All[0]
	unverified := lazy.Manifest.Layers[0] // its blob is lazy, but the image does not say so
	unverified.Annotations = nil
	l.Tag(l.Image(amd64,
		layouttest.Layer{Descriptor: strange, DiffID: strange.Digest}, layouttest.Layer{Descriptor: foreign, DiffID: foreign.Digest},
		layouttest.Layer{Descriptor: unverified, DiffID: digest.Digest(lazy.DiffIDs[0])},
	), "strange")
	layers := l.convert("strange", "strange-converted", convert.Options{Format: convert.ZstdChunked}).Images[0].Layers
	for n, want := range []convert.Action{convert.Kept, convert.Kept, convert.Converted} {
		if layers[n].Action != want {
			t.Errorf("layer %d is %s, want %s", n, layers[n].Action, want)
		}
	}
	if !reflect.DeepEqual(layers[0].Descriptor, strange) || !reflect.DeepEqual(layers[1].Descriptor, foreign) {
		t.Errorf("the layers that are kept are %v", layers[:2])
	}
}

// All images of an index are converted, or those of some platforms. What an attestation says
// is not true of the result, and what SOCI says is not of its layers.
func TestIndex(t *testing.T) {
	l := newLab(t)
	arm64 := ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	shared := plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, usual(t))
	one := l.Image(amd64, shared)
	two := l.Image(arm64, shared, plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, tarOf(t, regular("arm", "arm"))))
	one.Annotations = map[string]string{"org.example.of": "descriptor"}
	about := l.Image(ocispec.Platform{OS: "unknown", Architecture: "unknown"})
	about.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": one.Digest.String()}
	soci := l.Document(ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": map[string]string{"mediaType": "application/vnd.amazon.soci.index.v2+json"},
	})
	soci.ArtifactType, soci.Platform = "application/vnd.amazon.soci.index.v2+json", &amd64
	idx := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{one, two, about, soci}, Annotations: map[string]string{"org.example.of": "index"},
	}
	l.Tag(l.Document(ocispec.MediaTypeImageIndex, idx), "plain")

	all := l.convert("plain", "all", convert.Options{})
	if len(all.Images) != 2 || all.Attestations != 1 || all.Root.MediaType != ocispec.MediaTypeImageIndex {
		t.Fatalf("the result is %+v", all)
	}
	made := l.images("all")
	if made.Index.Annotations["org.example.of"] != "index" || made.Index.Manifests[0].Annotations["org.example.of"] != "descriptor" {
		t.Errorf("the index is %+v", made.Index)
	}
	for n, want := range []string{"linux/amd64", "linux/arm64/v8"} {
		if got := platforms.FormatAll(*made.Index.Manifests[n].Platform); got != want {
			t.Errorf("image %d is for %s, want %s", n, got, want)
		}
	}
	if a, b := all.Images[0].Layers[0], all.Images[1].Layers[0]; a.Digest != b.Digest || a.DiffID != b.DiffID {
		t.Errorf("the layer of both images has become %s and %s", a.Digest, b.Digest)
	}

	some := l.convert("plain", "some", convert.Options{Platforms: platforms.OnlyStrict(arm64)})
	if len(some.Images) != 1 || some.Root.MediaType != ocispec.MediaTypeImageManifest || some.Root.Digest != all.Images[1].Digest {
		t.Errorf("the result for one platform is %+v", some)
	}
	_, err := l.try(t.Context(), "plain", "none", convert.Options{Platforms: platforms.OnlyStrict(platforms.MustParse("linux/s390x"))})
	if err == nil || !strings.Contains(err.Error(), "linux/amd64") {
		t.Errorf("the error for a platform that is not there is %v", err)
	}
}

// TestNamesOfLayout looks at what a layout has under its tags when one is given anew.
func TestNamesOfLayout(t *testing.T) {
	l := newLab(t)
	l.Tag(l.Image(amd64, plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, usual(t))), "plain")
	l.convert("plain", "made", convert.Options{Format: convert.ZstdChunked})
	want := l.convert("plain", "made", convert.Options{Format: convert.EStargz})
	if got := l.images("made").Root.Digest; got != want.Root.Digest {
		t.Errorf("the tag names %s, and was given to %s", got, want.Root.Digest)
	}
	if l.images("plain").All[0].Manifest.Layers[0].MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Error("the original is another image")
	}
	b, err := os.ReadFile(l.Dir + "/index.json")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("ref.name")); n != 2 {
		t.Errorf("index.json has %d tags: %s", n, b)
	}
}
