package convert_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/convert"
	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/inspect"
	"github.com/ladle-dev/ladle/internal/layouttest"
)

var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// file is an entry of a tar with content.
type file struct {
	tar.Header
	content string
}

func regular(name, content string) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

func directory(name string) file {
	return file{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, ""}
}

func link(name, target string) file {
	return file{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

// tarOf returns a tar.
func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		f.Size, f.ModTime = int64(len(f.content)), time.Unix(1_700_000_000, 0)
		if f.Typeflag == tar.TypeXGlobalHeader {
			f.ModTime = time.Time{}
		}
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// words are n bytes, half of which are needed to tell them, the same ones each time.
func words(seed byte, n int) string {
	b := make([]byte, (n+1)/2)
	if _, err := rand.NewChaCha8([32]byte{seed}).Read(b); err != nil {
		panic(err) // it never fails
	}
	return hex.EncodeToString(b)[:n]
}

// usual is a tar as builders write them.
func usual(t *testing.T) []byte {
	return tarOf(t, directory("usr"), directory("usr/bin"), regular("usr/bin/first", words(1, 5000)),
		regular("usr/bin/second", words(2, 70_000)), link("usr/bin/again", "usr/bin/second"), regular("usr/empty", ""),
		regular("usr/large", words(3, 5<<20)), regular("usr/.wh.gone", ""))
}

// plain adds a layer of a tar that is not lazy.
func plain(t *testing.T, l *layouttest.Layout, mediaType string, b []byte) layouttest.Layer {
	t.Helper()
	blob := b
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		blob = out.Bytes()
	case strings.HasSuffix(mediaType, "zstd"):
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		blob = w.EncodeAll(b, nil)
	}
	return layouttest.Layer{Descriptor: l.Blob(mediaType, blob), DiffID: digest.FromBytes(b)}
}

// lab is a layout to convert in, with a directory for temporary files that must be empty
// when a conversion has ended.
type lab struct {
	*layouttest.Layout
	*testing.T
	tmp string
}

func newLab(t *testing.T) lab {
	t.Helper()
	l := lab{layouttest.New(t, filepath.Join(t.TempDir(), "layout")), t, t.TempDir()}
	t.Setenv("TMPDIR", l.tmp)
	return l
}

// try converts the image src, under the name dst.
func (l lab) try(ctx context.Context, src, dst string, o convert.Options) (result convert.Result, err error) {
	l.Helper()
	var d depot.Depot
	if o.Origin == nil {
		o.Origin, err = d.Open(depot.Reference{Layout: l.Dir, Name: src})
		if err != nil {
			l.Fatal(err)
		}
		defer o.Origin.Close()
	}
	o.Target, err = d.Create(depot.Reference{Layout: l.Dir, Name: dst})
	if err != nil {
		l.Fatal(err)
	}
	result, err = convert.Convert(ctx, o)
	l.nothingLeft()
	return result, errors.Join(err, o.Target.Close())
}

func (l lab) convert(src, dst string, o convert.Options) convert.Result {
	l.Helper()
	result, err := l.try(l.Context(), src, dst, o)
	if err != nil {
		l.Fatal(err)
	}
	return result
}

// nothingLeft fails the test if there are temporary files.
func (l lab) nothingLeft() {
	l.Helper()
	for _, dir := range []string{l.tmp, l.Dir, filepath.Join(l.Dir, "blobs", "sha256")} {
		left, err := os.ReadDir(dir)
		if err != nil {
			l.Fatal(err)
		}
		for _, e := range left {
			if dir == l.tmp || strings.HasPrefix(e.Name(), ".ladle") || strings.HasSuffix(e.Name(), ".new") {
				l.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
}

// report inspects an image.
func (l lab) report(tag string) inspect.Report {
	l.Helper()
	o, err := depot.Depot{}.Open(depot.Reference{Layout: l.Dir, Name: tag})
	if err != nil {
		l.Fatal(err)
	}
	defer o.Close()
	r, err := inspect.Inspect(l.Context(), o, inspect.Options{})
	if err != nil {
		l.Fatal(err)
	}
	return r
}

// images returns the images that a tag names.
func (l lab) images(tag string) depot.Images {
	l.Helper()
	o, err := depot.Depot{}.Open(depot.Reference{Layout: l.Dir, Name: tag})
	if err != nil {
		l.Fatal(err)
	}
	defer o.Close()
	all, err := depot.ReadImages(l.Context(), o, nil)
	if err != nil {
		l.Fatal(err)
	}
	return all
}

// tar returns the uncompressed bytes of a layer, which hash to its diffID.
func (l lab) tar(of convert.Layer) []byte {
	l.Helper()
	b, err := os.ReadFile(l.Path(of.Digest))
	if err != nil {
		l.Fatal(err)
	}
	var r io.Reader
	if strings.HasSuffix(of.MediaType, "zstd") {
		r, err = zstd.NewReader(bytes.NewReader(b))
	} else {
		r, err = gzip.NewReader(bytes.NewReader(b))
	}
	if err != nil {
		l.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		l.Fatal(err)
	}
	if digest.FromBytes(all) != of.DiffID {
		l.Errorf("the tar has digest %s, the diffID is %s", digest.FromBytes(all), of.DiffID)
	}
	if size := of.Annotations["io.containers.estargz.uncompressed-size"]; of.Action == convert.Converted && size != fmt.Sprint(len(all)) {
		l.Errorf("the tar has %d bytes, the annotation says %s", len(all), size)
	}
	return all
}

// names returns the names of a tar's entries in their order.
func names(t *testing.T, b []byte) (all []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
	}
}

// config returns what a configuration says but for its diffIDs.
func config(t *testing.T, b []byte) (all map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	delete(all["rootfs"].(map[string]any), "diff_ids")
	return all
}
