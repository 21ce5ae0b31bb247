package index

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/tree"
)

// unpacked returns the tar that a blob decompresses to.
func (b *blob) unpacked(t testing.TB) []byte {
	t.Helper()
	var r io.Reader
	var err error
	if bytes.HasPrefix(b.data, []byte{0x1f, 0x8b}) {
		r, err = gzip.NewReader(bytes.NewReader(b.data))
	} else {
		r, err = zstd.NewReader(bytes.NewReader(b.data))
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// prove proves an index of b, with a data file that is filled by it.
func (b *blob) prove(t testing.TB, x *Index) (digest.Digest, error) {
	t.Helper()
	table, err := DecodeTable(EncodeTable(x))
	if err != nil {
		t.Fatal(err)
	}
	off := int64(0)
	next := func() (Stretch, error) {
		size := int64(len(b.data))
		if off == size {
			return Stretch{}, io.EOF
		}
		end := table.StreamAfter(off)
		if end < 0 {
			end = size
		}
		first, last := table.Chunks(off)
		var rest bytes.Buffer
		err := table.Rest(&rest, bufio.NewReader(bytes.NewReader(b.data[off:end])), first, last)
		off = end
		return Stretch{first, last, &rest}, err
	}
	return Prove(t.Context(), Claimed{x.Root, table, bytes.NewReader(dataOf(t, b, x))}, next)
}

func dataOf(t testing.TB, b *blob, x *Index) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(dataFile(t, b, x), 0, x.DataSize))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// provable are members of which all kinds of layers can be made.
func provable() []member {
	return []member{
		dir("d").xattr("user.a", "b"), reg("d/a", strings.Repeat("a", 10_000)), reg("empty", ""), link("l", "d/a"), symlink("s", "b"),
		reg("twice", "one"), reg("zeros", strings.Repeat("\x00", 300_000)), reg("d/.wh.x", ""), reg("e/.wh..wh..opq", ""),
		reg("twice", "two").with(func(h *tar.Header) { h.ModTime = time.Unix(1000, 6e8) }), device(tar.TypeChar, "c", 1, 3),
		reg("mixed", "m"+strings.Repeat("\x00", 300_000)+strings.Repeat("m", 100)), reg("last", strings.Repeat("last", 9000)),
	}
}

// TestProve rebuilds the tars of all forms of a layer.
func TestProve(t *testing.T) {
	for name, members := range map[string][]member{
		"all kinds": provable(), "no chunks": {dir("d"), reg("empty", "")}, "nothing": {}, "one": {reg("f", "x")},
	} {
		for _, form := range forms {
			b := form.compress(t, tarOf(t, members))
			x, _ := b.mustOpen(t)
			got, err := b.prove(t, x)
			if want := digest.FromBytes(b.unpacked(t)); err != nil || got != want {
				t.Errorf("%s, %s: %s, %v, want %s", form.name, name, got, err, want)
			}
		}
	}
}

// TestProveOtherTree has indexes that show something else than the tar of their blob has.
func TestProveOtherTree(t *testing.T) {
	at := func(x *Index, name string) *tree.Inode { return x.Root.Dir.Lookup(name) }
	lies := map[string]func(x *Index){
		"mode":       func(x *Index) { at(x, "last").Mode |= 0o4000 },
		"owner":      func(x *Index) { at(x, "last").UID = 1 },
		"time":       func(x *Index) { at(x, "last").Mtime.Sec++ },
		"xattr":      func(x *Index) { at(x, "d").Xattrs["user.a"] = "c" },
		"more xattr": func(x *Index) { at(x, "last").Xattrs = map[string]string{"user.a": "c"} },
		"target":     func(x *Index) { at(x, "s").Target = "c" },
		"device":     func(x *Index) { at(x, "c").Device.Minor = 5 },
		"name":       func(x *Index) { f := at(x, "last"); x.Root.Dir.Remove("last"); x.Root.Dir.Add("first", f) },
		"more":       func(x *Index) { x.Root.Dir.Add("more", tree.NewDir(0o755)) },
		"less":       func(x *Index) { x.Root.Dir.Remove("last") },
		"whiteout":   func(x *Index) { x.Root.Dir.Add("more", tree.NewWhiteout()) },
		"opaque":     func(x *Index) { at(x, "d").Dir.Opaque = true },
		"swapped": func(x *Index) {
			a, b := at(x, "last"), at(x, "twice")
			a.Data, b.Data = b.Data, a.Data
			a.Size, b.Size = b.Size, a.Size
		},
		"contents":  func(x *Index) { at(x, "zeros").Data, at(x, "zeros").Size = at(x, "mixed").Data, at(x, "zeros").Size },
		"no chunk":  func(x *Index) { x.Chunks = x.Chunks[:len(x.Chunks)-1] },
		"hard link": func(x *Index) { x.Root.Dir.Add("l", at(x, "last")) },
		"cut":       func(x *Index) { at(x, "last").Size-- },
	}
	for _, form := range forms {
		b := form.compress(t, tarOf(t, provable()))
		want := digest.FromBytes(b.unpacked(t))
		for name, lie := range lies {
			x, _ := b.mustOpen(t)
			lie(x)
			if got, err := b.prove(t, x); !errors.Is(err, ErrOtherTree) || got != want {
				t.Errorf("%s, %s: %s, %v", form.name, name, got, err)
			}
		}
	}
}

// TestProveNothing has data of which no tar is made.
func TestProveNothing(t *testing.T) {
	b := forms[0].compress(t, tarOf(t, provable()))
	x, _ := b.mustOpen(t)
	table, err := DecodeTable(EncodeTable(x))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		rest io.Reader
		want error
	}{
		"no tar":    {strings.NewReader(strings.Repeat("x", 1024)), ErrNoProof},
		"failing":   {io.MultiReader(strings.NewReader("x"), failing{}), errFailing},
		"too short": {strings.NewReader("x"), ErrNoProof},
	} {
		first := true
		_, err := Prove(t.Context(), Claimed{x.Root, table, bytes.NewReader(nil)}, func() (Stretch, error) {
			if !first {
				return Stretch{}, io.EOF
			}
			first = false
			return Stretch{Rest: test.rest}, nil
		})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var errFailing = fmt.Errorf("failing")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }
