package convert_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/convert"
)

// one converts an image of one layer.
func (l lab) one(b []byte, o convert.Options) convert.Layer {
	l.Helper()
	tag := digest.FromBytes(b).Encoded()
	l.Tag(l.Image(amd64, plain(l.T, l.Layout, ocispec.MediaTypeImageLayerGzip, b)), tag)
	return l.convert(tag, "made", o).Images[0].Layers[0]
}

// The files of a list come first, with what they need, and before the landmark.
func TestPrefetchList(t *testing.T) {
	l := newLab(t)
	b := tarOf(t, directory("usr"), regular("usr/first", "1"), directory("usr/lib"), regular("usr/lib/second", words(1, 50_000)),
		regular("usr/third", "3"), link("usr/lib/fourth", "usr/third"), regular("other", "5"))
	list := []string{"/usr/lib/second", "not/there", "./usr/lib/fourth", "/usr/lib/second"}
	want := []string{"usr/", "usr/lib/", "usr/lib/second", "usr/third", "usr/lib/fourth", ".prefetch.landmark", "usr/first", "other"}
	for _, f := range convert.Formats() {
		of := l.one(b, convert.Options{Format: f, Prefetch: list})
		got := names(t, l.tar(of))
		if f == convert.EStargz {
			got = got[:len(got)-1] // the TOC
		}
		if !slices.Equal(got, want) || !of.Reordered {
			t.Errorf("%s: the entries are %q, want %q", f, got, want)
		}
		r := l.report("made").Images[0].Layers[0]
		if !r.Lazy || r.Index.Prefetch < 10_000 || r.Index.Prefetch > r.Size-r.Index.Size {
			t.Errorf("%s: %d bytes are to be prefetched, of %d", f, r.Index.Prefetch, r.Size)
		}
	}
	// A layer that has none of the files says that there is nothing to prefetch.
	if of := l.one(b, convert.Options{Prefetch: []string{"not/there"}}); of.Reordered || names(t, l.tar(of))[0] != ".no.prefetch.landmark" {
		t.Errorf("the entries are %q", names(t, l.tar(of)))
	}
}

// Entries of which the order has a meaning keep it.
func TestOrderWithAMeaning(t *testing.T) {
	l := newLab(t)
	for _, files := range [][]file{
		{regular("a", "first"), link("b", "a"), regular("a", "second")},
		{regular("d/.wh.a", ""), regular("d/a", "later")},
	} {
		b := tarOf(t, files...)
		for _, f := range convert.Formats() {
			of := l.one(b, convert.Options{Format: f, Prefetch: []string{"a", "d/a"}})
			if of.Reordered {
				t.Errorf("%s: the entries %q are %q", f, names(t, b), names(t, l.tar(of)))
			}
			checkTar(t, f, l.tar(of), b)
		}
	}
}

// A cycle of hard links, which names nothing, is no endless loop.
func TestCycleOfLinks(t *testing.T) {
	l := newLab(t)
	of := l.one(tarOf(t, link("a", "b"), link("b", "a"), regular("c/c", "c"), link("d", "d")), convert.Options{Prefetch: []string{"a", "d"}})
	if got := names(t, l.tar(of)); len(got) != 6 {
		t.Errorf("the entries are %q", got)
	}
}

// A global PAX header is left out: containerd ignores it, and formats have no entry for it.
func TestGlobalHeader(t *testing.T) {
	l := newLab(t)
	global := file{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "of git archive"}}, ""}
	b := tarOf(t, global, directory("d"), regular("d/f", "content"))
	want := tarOf(t, directory("d"), regular("d/f", "content"))
	for _, f := range convert.Formats() {
		checkTar(t, f, l.tar(l.one(b, convert.Options{Format: f})), want)
	}
}

// A tar that ends without the padding of its last entry, which containerd accepts, gets it.
func TestMissingPadding(t *testing.T) {
	l := newLab(t)
	whole := tarOf(t, regular("a", "a"), regular("b", "b"))
	for _, f := range convert.Formats() {
		made := l.tar(l.one(whole[:3*512+1], convert.Options{Format: f}))
		if got := contents(t, made); string(got["a"]) != "a" || string(got["b"]) != "b" || len(made)%512 != 0 {
			t.Errorf("%s: the tar has %d bytes, and the files %q", f, len(made), got)
		}
	}
}

// Sparse files, as GNU tar writes them in each of its forms, are written with their zeros.
func TestSparseFiles(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 3 << 20, 6 << 20} {
		if _, err := f.WriteAt([]byte("island"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "after"), []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range [][]string{
		{"--format=gnu"}, {"--format=pax", "--sparse-version=0.0"}, {"--format=pax", "--sparse-version=0.1"}, {"--format=pax", "--sparse-version=1.0"},
	} {
		t.Run(strings.Join(form, " "), func(t *testing.T) {
			l := newLab(t)
			b, err := exec.Command("tar", slices.Concat([]string{"--sparse", "-C", dir, "-c"}, form, []string{"sparse", "after"})...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > 1<<20 {
				t.Fatalf("the tar has %d bytes: it has no sparse file", len(b))
			}
			for _, format := range convert.Formats() {
				made := l.tar(l.one(b, convert.Options{Format: format}))
				got := contents(t, made)
				if !bytes.Equal(got["sparse"], want) || string(got["after"]) != "after" {
					t.Errorf("%s: the files are %q", format, names(t, made))
				}
				if r := l.report("made").Images[0].Layers[0]; !r.Lazy || r.Index.Contents != int64(len(want)+len("after")) {
					t.Errorf("%s: the report is %+v", format, r)
				}
			}
		})
	}
}

func contents(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			t.Errorf("%s has type %q", h.Name, h.Typeflag)
		}
		if all[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
