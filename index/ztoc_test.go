package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/internal/ztoctest"
)

// ztocOf returns the ztoc of a blob, with spans of 64 KiB.
func ztocOf(t testing.TB, blob []byte) *ztoctest.Ztoc {
	t.Helper()
	z, err := ztoctest.Of(blob, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// keptData is a data file in memory, which is written from its start to its end.
type keptData struct{ b []byte }

func (k *keptData) WriteAt(p []byte, _ int64) (int, error) {
	k.b = append(k.b, p...)
	return len(p), nil
}

// checkZtoc makes sure that a ztoc gives the tree of its blob, and by its spans the contents of all
// files, at the same places as an import.
func checkZtoc(t *testing.T, ztoc, blob []byte) *Document {
	t.Helper()
	data := &keptData{}
	want, err := Import(t.Context(), io.NopCloser(bytes.NewReader(blob)), data)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ReadDocument(ztoc, want.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if d.Blob != want.Blob || d.DiffID != "" || d.BlobSize != int64(len(blob)) || d.DataSize != want.DataSize {
		t.Errorf("the document is of %s, %q, %d bytes with %d of files, and the blob %s, %d, %d",
			d.Blob, d.DiffID, d.BlobSize, d.DataSize, want.Blob, len(blob), want.DataSize)
	}
	if !bytes.Equal(EncodeTree(d.Root), EncodeTree(want.Root)) {
		checkEqualTrees(t, want.Root, d.Root)
		t.Error("the tree is another one")
	}
	table := tableOf(t, d.Index)
	got := make([]byte, len(data.b))
	for i := range table.Len() {
		c := table.At(i)
		r, err := table.NewReader(newBuffered(blob[c.BlobOffset:c.BlobEnd]), c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.CopyN(io.Discard, r, c.InnerOffset)
		if err == nil {
			_, err = io.ReadFull(r, got[c.DataOffset:c.DataOffset+c.Size])
		}
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatalf("chunk %d: %v", i, err)
		}
	}
	for _, f := range want.Chunks {
		if off, end := f.DataOffset, f.DataOffset+f.Size; !bytes.Equal(got[off:end], data.b[off:end]) {
			t.Errorf("the contents at %d of the data file are others", off)
		}
	}
	return d
}

// TestZtocOfSOCI has one that SOCI's own builder made.
func TestZtocOfSOCI(t *testing.T) {
	d := checkZtoc(t, ztoctest.Built(), ztoctest.BuiltBlob())
	if n := tableOf(t, d.Index).points.Len(); n < 2 {
		t.Errorf("it has %d spans", n)
	}
}

func TestZtoc(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 8))
		tarball := someTar(t, r)
		for name, blob := range map[string][]byte{"gzip": gzipOf(t, r, tarball), "members": gzipMembers(t, tarball, 100<<10)} {
			t.Run(fmt.Sprint(name, seed), func(t *testing.T) { checkZtoc(t, ztocOf(t, blob).Encode(), blob) })
		}
	}
	tarball := tarOf(t, append(someMembers(), reg("again", "1"), reg("large", strings.Repeat("some text\n", 100<<10)), reg("again", "22")))
	checkZtoc(t, ztocOf(t, gzipMembers(t, tarball, 1<<30)).Encode(), gzipMembers(t, tarball, 1<<30))
}

func TestZtocRefuses(t *testing.T) {
	blob := gzipMembers(t, tarOf(t, append(someMembers(), reg("large", string(noise(rand.New(rand.NewPCG(1, 1)), 300<<10))))), 1<<30)
	file := func(z *ztoctest.Ztoc) *ztoctest.Entry { return &z.Entries[len(z.Entries)-1] }
	for name, change := range map[string]func(z *ztoctest.Ztoc){
		"":                   func(*ztoctest.Ztoc) {},
		"a later version":    func(z *ztoctest.Ztoc) { z.Version = "1.0" },
		"no gzip":            func(z *ztoctest.Ztoc) { z.Algorithm = 2 },
		"no blob":            func(z *ztoctest.Ztoc) { z.BlobSize = 0 },
		"a short blob":       func(z *ztoctest.Ztoc) { z.BlobSize = z.Spans[1].In },
		"a huge blob":        func(z *ztoctest.Ztoc) { z.BlobSize = 1 << 40 },
		"a short tar":        func(z *ztoctest.Ztoc) { z.TarSize = file(z).Offset + 1 },
		"a negative tar":     func(z *ztoctest.Ztoc) { z.TarSize = -1 },
		"no spans":           func(z *ztoctest.Ztoc) { z.Spans = nil },
		"a late first span":  func(z *ztoctest.Ztoc) { z.Spans = z.Spans[1:] },
		"spans in no order":  func(z *ztoctest.Ztoc) { z.Spans[1], z.Spans[2] = z.Spans[2], z.Spans[1] },
		"a span twice":       func(z *ztoctest.Ztoc) { z.Spans[2] = z.Spans[1] },
		"many bits":          func(z *ztoctest.Ztoc) { z.Spans[1].Bits = 8 },
		"a short window":     func(z *ztoctest.Ztoc) { z.Spans[1].Window = z.Spans[1].Window[1:] },
		"no digest":          func(z *ztoctest.Ztoc) { z.Spans[1].Digest = "" },
		"another digest":     func(z *ztoctest.Ztoc) { z.Spans[1].Digest = "sha512" + z.Spans[1].Digest[6:] },
		"a file of no type":  func(z *ztoctest.Ztoc) { file(z).Type = "" },
		"a socket":           func(z *ztoctest.Ztoc) { file(z).Type = "socket" },
		"contents of others": func(z *ztoctest.Ztoc) { file(z).Offset = z.Entries[0].Offset },
		"contents behind it": func(z *ztoctest.Ztoc) { file(z).Offset = z.TarSize },
		"a negative place":   func(z *ztoctest.Ztoc) { file(z).Offset = -1 },
		"a negative size":    func(z *ztoctest.Ztoc) { file(z).Size = -1 },
		"a huge size":        func(z *ztoctest.Ztoc) { file(z).Size = 1 << 62 },
		"a sparse file":      func(z *ztoctest.Ztoc) { file(z).Records = map[string]string{"GNU.sparse.major": "1"} },
		"a path that is not": func(z *ztoctest.Ztoc) { file(z).Name = "../../etc/passwd/x\x00" },
		"a link to nothing":  func(z *ztoctest.Ztoc) { file(z).Type, file(z).Link = "hardlink", "nothing" },
		"a strange time":     func(z *ztoctest.Ztoc) { file(z).ModTime = "yesterday" },
		"a large attribute": func(z *ztoctest.Ztoc) {
			file(z).Records = map[string]string{"SCHILY.xattr.user.a": strings.Repeat("a", maxXattrValue+1)}
		},
	} {
		z := ztocOf(t, blob)
		change(z)
		if _, err := DecodeZtoc(z.Encode(), digest.FromBytes(blob)); (err == nil) != (name == "") || err != nil && !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestZtocRefersOnce has a vector whose elements are all the same large entry.
func TestZtocRefersOnce(t *testing.T) {
	blob := gzipMembers(t, tarOf(t, someMembers()), 1<<30)
	z := ztocOf(t, blob)
	z.Entries = slices.Repeat(z.Entries[:1], 1000)
	z.Entries[0].Records = map[string]string{"comment": strings.Repeat("0", 4000)}
	b := z.Encode()
	f := newFlatBuffer(b)
	off, elements := f.root().table(ztocTOC).vector(0, 4)
	first := f.follow(off)
	for i := 0; i < len(elements); i += 4 {
		n := first - (off + i)
		if n < 0 {
			break // offsets lead forward only
		}
		elements[i], elements[i+1], elements[i+2], elements[i+3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	}
	if _, err := DecodeZtoc(b, digest.FromBytes(blob)); !errors.Is(err, errFlatBuffer) {
		t.Errorf("one entry, a thousand times: %v", err)
	}
}

// TestDamagedZtoc changes bytes, and cuts off the end: what is read then is an index within bounds, or
// an error.
func TestDamagedZtoc(t *testing.T) {
	blob := gzipMembers(t, tarOf(t, someMembers()), 1<<30)
	z := ztocOf(t, blob)
	z.Spans[0].Window = bytes.Repeat([]byte{0xa5}, checkpointWindow)
	good := z.Encode()
	window := bytes.Index(good, z.Spans[0].Window)
	r := rand.New(rand.NewPCG(1, 11))
	accepted := 0
	for range 3000 {
		bad := slices.Clone(good)
		for range 1 + r.IntN(3) {
			at := r.IntN(len(good) - checkpointWindow)
			if at >= window {
				at += checkpointWindow
			}
			bad[at] = byte(r.IntN(256))
		}
		if r.IntN(10) == 0 {
			bad = bad[:r.IntN(len(bad))]
		}
		d, err := DecodeZtoc(bad, digest.FromBytes(blob))
		if err != nil {
			if !errors.Is(err, ErrDocument) {
				t.Fatal(err)
			}
			continue
		}
		accepted++
		if err := d.checkIndex(); err != nil {
			t.Fatal(err)
		}
	}
	if accepted < 100 || accepted > 2900 {
		t.Errorf("%d of 3000 are accepted", accepted)
	}
}

// TestWrongSpan: nothing is decompressed of a stream that is not what its digest says.
func TestWrongSpan(t *testing.T) {
	blob := ztoctest.BuiltBlob()
	d, err := DecodeZtoc(ztoctest.Built(), digest.FromBytes(blob))
	if err != nil {
		t.Fatal(err)
	}
	table := tableOf(t, d.Index)
	c := table.At(table.Len() - 1)
	stream := slices.Clone(blob[c.BlobOffset:c.BlobEnd])
	for _, at := range []int{0, len(stream) / 2, len(stream) - 1} {
		stream[at] ^= 1
		if _, err := table.NewReader(newBuffered(stream), c); err == nil {
			t.Errorf("byte %d is wrong: no error", at)
		}
		stream[at] ^= 1
	}
	if _, err := table.NewReader(newBuffered(stream[1:]), c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short stream: %v", err)
	}
}

func FuzzDecodeZtoc(f *testing.F) {
	f.Add(ztocOf(f, gzipMembers(f, tarOf(f, someMembers()), 1<<30)).Encode()) // one span: a small one
	f.Fuzz(func(t *testing.T, b []byte) {
		var d *Document
		var err error
		most := 4*Memory(int64(len(b))) + placesMemory + 256*int64(len(b))
		memtest.Bound(t, most, func() { d, err = DecodeZtoc(b, digest.FromString("blob")) })
		if err != nil {
			return
		}
		if err := d.checkIndex(); err != nil {
			t.Error(err)
		}
		table := tableOf(t, d.Index)
		for i := range min(table.Len(), 4) {
			c := table.At(i)
			c.BlobEnd = min(c.BlobEnd, c.BlobOffset+1<<10)
			if r, err := table.NewReader(newBuffered(make([]byte, 1<<10)), c); err == nil {
				t.Errorf("the stream of chunk %d is zeros, with the digest %x", i, c.Digest)
				r.Close()
			}
		}
	})
}
