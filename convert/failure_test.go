package convert_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/convert"
	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/layouttest"
	"github.com/ladle-dev/ladle/internal/registrytest"
)

// refused tries a conversion that must fail with an error that says all of want, and
// without a result.
func (l lab) refused(ctx context.Context, tag string, o convert.Options, want ...string) {
	l.Helper()
	for _, f := range convert.Formats() {
		o.Format = f
		_, err := l.try(ctx, tag, "result", o)
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				l.Errorf("%s: the error is %v, and does not say %q", f, err, text)
			}
		}
		b, err := os.ReadFile(l.Dir + "/index.json")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			l.Fatal(err)
		}
		if bytes.Contains(b, []byte(`"result"`)) {
			l.Errorf("%s: there is a result: %s", f, b)
		}
	}
}

// Layers that are not what the image says, and tars that containerd refuses, are refused, and
// the error names the layer.
func TestLayersThatAreRefused(t *testing.T) {
	const gz = ocispec.MediaTypeImageLayerGzip
	l := newLab(t)
	good := usual(t)
	for name, of := range map[string]func() (layer layouttest.Layer, want string){
		"another-diffID": func() (layouttest.Layer, string) {
			layer := plain(t, l.Layout, gz, good)
			layer.DiffID = digest.FromString("another")
			return layer, "uncompressed content has not the digest"
		},
		"damaged": func() (layouttest.Layer, string) {
			layer := plain(t, l.Layout, ocispec.MediaTypeImageLayer, tarOf(t, regular("a", "good")))
			bad := bytes.Replace(tarOf(t, regular("a", "good")), []byte("good"), []byte("evil"), 1)
			if err := os.WriteFile(l.Path(layer.Digest), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			return layer, "content has not digest"
		},
		"shorter": func() (layouttest.Layer, string) {
			layer := plain(t, l.Layout, gz, tarOf(t, regular("a", words(7, 1000))))
			if err := os.Truncate(l.Path(layer.Digest), layer.Size-20); err != nil {
				t.Fatal(err)
			}
			return layer, "of a blob of"
		},
		"cut": func() (layouttest.Layer, string) {
			whole := plain(t, l.Layout, gz, good)
			b, err := os.ReadFile(l.Path(whole.Digest))
			if err != nil {
				t.Fatal(err)
			}
			return layouttest.Layer{Descriptor: l.Blob(gz, b[:len(b)/2]), DiffID: whole.DiffID}, "unexpected EOF"
		},
		"no-tar": func() (layouttest.Layer, string) {
			b := []byte(words(8, 4096))
			return plain(t, l.Layout, gz, b), "tar: "
		},
		"unknown-type": func() (layouttest.Layer, string) {
			b := tarOf(t, file{tar.Header{Typeflag: tar.TypeCont, Name: "contiguous"}, ""})
			return plain(t, l.Layout, gz, b), `"contiguous" has the unknown type`
		},
		"named-as-gzip": func() (layouttest.Layer, string) {
			b := tarOf(t, regular("123 name", "content"))
			copy(b, "\x1f\x8b\x08")
			checksum(b)
			return plain(t, l.Layout, gz, b), "starts as a gzip stream"
		},
		"large-sparse": func() (layouttest.Layer, string) {
			b := tarOf(t, file{tar.Header{Typeflag: tar.TypeReg, Name: "hole", Format: tar.FormatPAX}, "0"})
			b = sparseHeader(t, b, 1<<50)
			return plain(t, l.Layout, gz, b), "sparse file of"
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab{l.Layout, t, l.tmp}
			layer, want := of()
			l.Tag(l.Image(amd64, layer), name)
			if name == "named-as-gzip" { // in eStargz the landmark comes first
				_, err := l.try(t.Context(), name, "result", convert.Options{Format: convert.ZstdChunked})
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			l.refused(t.Context(), name, convert.Options{}, layer.Digest.String(), want)
		})
	}
}

// sparseHeader makes of the first entry of a tar an old GNU sparse file that is said to have
// so many bytes (GNU tar manual, "Basic Tar Format").
func sparseHeader(t *testing.T, b []byte, size int64) []byte {
	t.Helper()
	b = bytes.Clone(b)
	number := func(at int, n int64) { // base 256
		b[at] = 0x80
		for i := 11; i > 0; i, n = i-1, n>>8 {
			b[at+i] = byte(n)
		}
	}
	b[156] = tar.TypeGNUSparse
	copy(b[257:], "ustar  \x00")
	number(386, size-1) // where the data are
	number(398, 1)      // and how many
	number(483, size)
	checksum(b)
	return b
}

// checksum sets the checksum of the first header of a tar.
func checksum(b []byte) {
	copy(b[148:], "        ")
	var sum int64
	for _, c := range b[:512] {
		sum += int64(c)
	}
	copy(b[148:], []byte{
		'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' ',
	})
}

// fromRegistry is the image of a layout in a registry.
func fromRegistry(t *testing.T, l *layouttest.Layout, r *registrytest.Registry, img ocispec.Descriptor, layers ...layouttest.Layer) depot.Origin {
	t.Helper()
	read := func(d digest.Digest) []byte {
		b, err := os.ReadFile(l.Path(d))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	manifest := read(img.Digest)
	r.AddManifest("image:plain", img.MediaType, manifest)
	l.Tag(img, "origin")
	lab := lab{l, t, ""}
	r.AddBlob(lab.images("origin").All[0].Config)
	for _, of := range layers {
		r.AddBlob(read(of.Digest))
	}
	d := depot.Depot{Client: fetch.New(fetch.Hosts(t.Context(), fetch.HostsOptions{}), fetch.Options{
		MaxRetries: 2, MinWait: time.Millisecond, MaxWait: 10 * time.Millisecond,
	})}
	o, err := d.Open(depot.Reference{Name: r.Ref("image:plain")})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A registry that breaks off is asked for the rest. One that remains away is an error that
// says so.
func TestRegistryBreaksOff(t *testing.T) {
	l := newLab(t)
	layer := plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, usual(t))
	r := registrytest.New(t, registrytest.Options{})
	o := fromRegistry(t, l.Layout, r, l.Image(amd64, layer), layer)
	whole := func(q registrytest.Request) bool {
		return q.Digest == layer.Digest && strings.HasPrefix(q.Range, "bytes=0-")
	}
	cuts := 0
	r.SetFault(func(q registrytest.Request) registrytest.Fault {
		if whole(q) && cuts == 0 {
			cuts++
			return registrytest.Fault{Close: registrytest.After(layer.Size / 2)}
		}
		return registrytest.Fault{}
	})
	l.convert("", "made", convert.Options{Origin: o})
	if cuts == 0 {
		t.Error("no request was for the blob from its start")
	}
	if !l.report("made").Images[0].Layers[0].Lazy {
		t.Error("the result is not lazy")
	}
	r.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Digest != layer.Digest {
			return registrytest.Fault{}
		}
		if whole(q) {
			return registrytest.Fault{Close: registrytest.After(layer.Size / 2)}
		}
		if strings.HasPrefix(q.Range, "bytes=-") { // the footer
			return registrytest.Fault{}
		}
		return registrytest.Fault{Status: 503}
	})
	l.refused(t.Context(), "", convert.Options{Origin: o}, layer.Digest.String(), "503")
}

// A conversion that is interrupted while it fetches leaves nothing behind.
func TestInterrupted(t *testing.T) {
	l := newLab(t)
	layer := plain(t, l.Layout, ocispec.MediaTypeImageLayerGzip, usual(t))
	r := registrytest.New(t, registrytest.Options{})
	o := fromRegistry(t, l.Layout, r, l.Image(amd64, layer), layer)
	for _, at := range []int64{0, layer.Size / 2, layer.Size - 1} {
		ctx, cancel := context.WithCancelCause(t.Context())
		r.SetFault(func(q registrytest.Request) registrytest.Fault {
			if q.Digest == layer.Digest && strings.HasPrefix(q.Range, "bytes=0-") {
				time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("interrupted by the test")) })
				return registrytest.Fault{Stall: registrytest.After(at)}
			}
			return registrytest.Fault{}
		})
		_, err := l.try(ctx, "", "result", convert.Options{Origin: o})
		if err == nil || !strings.Contains(err.Error(), "interrupted by the test") {
			t.Errorf("the error is %v", err)
		}
		cancel(nil)
	}
}
