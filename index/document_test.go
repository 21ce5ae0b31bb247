package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// documentOf returns the document of a blob.
func documentOf(t testing.TB, b *blob) *Document {
	t.Helper()
	x, _ := b.mustOpen(t)
	d := &Document{Blob: digest.FromBytes(b.data), BlobSize: int64(len(b.data)), DiffID: b.diffID, Index: x}
	if d.DiffID == "" {
		d.DiffID = digest.FromString("the tar")
	}
	return d
}

// checkDocument encodes d, and compares it with what is decoded.
func checkDocument(t testing.TB, d *Document) {
	t.Helper()
	b, err := EncodeDocument(d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDocument(b)
	if err != nil {
		t.Fatal(err)
	}
	checkEqualTrees(t, d.Root, got.Root)
	want, have := *d.Index, *got.Index
	if len(want.Chunks) == 0 {
		want.Chunks = nil
	}
	want.Root, have.Root = nil, nil
	if !reflect.DeepEqual(want, have) || got.Blob != d.Blob || got.DiffID != d.DiffID || got.BlobSize != d.BlobSize {
		t.Errorf("%+v, decoded %+v", d, got)
	}
	if again, err := EncodeDocument(got); err != nil || string(again) != string(b) {
		t.Errorf("encoded otherwise the second time: %v", err)
	}
}

// TestDocument has the indexes of blobs of all forms, with a table of contents or imported.
func TestDocument(t *testing.T) {
	for _, f := range slices.Concat(forms, plainForms) {
		t.Run(f.name, func(t *testing.T) { checkDocument(t, documentOf(t, f.compress(t, tarOf(t, someMembers())))) })
	}
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 5))
		tarball := someTar(t, r)
		checkDocument(t, documentOf(t, plainBlob(tarball, gzipOf(t, r, tarball))))
		checkDocument(t, documentOf(t, plainBlob(tarball, tarball)))
	}
	checkDocument(t, documentOf(t, plainBlob(tarOf(t, nil), gzipMembers(t, tarOf(t, nil), 1<<20))))
}

// TestDocumentOfAnything has chunks and trees that follow no pattern.
func TestDocumentOfAnything(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 6))
		d := &Document{Blob: digest.FromString("blob"), DiffID: digest.FromString("tar"), Index: randomIndex(r)}
		if r.IntN(2) == 0 {
			d.TOCDigest, d.CompressedTOCDigest = digest.FromString("toc"), digest.FromString("compressed")
		}
		d.BlobSize = r.Int64N(1 << 20)
		if n := len(d.Chunks); n > 0 {
			d.BlobSize += d.Chunks[n-1].BlobEnd
			d.DataSize = max(d.DataSize, align(d.Chunks[n-1].DataOffset+d.Chunks[n-1].Size))
		}
		d.PrefetchSize = r.Int64N(d.BlobSize + 1)
		checkDocument(t, d)
	}
}

// randomIndex returns an index of any compression but Points. Its numbers are sometimes
// those of a tar, sometimes near each other, sometimes as large as they can be.
func randomIndex(r *rand.Rand) *Index {
	x := &Index{Root: treetest.Random(r, treetest.Shape{Inodes: r.IntN(50), Layer: true, MaxXattr: 100, OddNames: true, LongLinks: true})}
	tree.Walk(x.Root, func(_ string, i *tree.Inode) error {
		removeSockets(i)
		for name := range i.Xattrs {
			if !takesXattr(i, name) {
				delete(i.Xattrs, name)
			}
		}
		if i.Size > 0 {
			x.DataSize = max(x.DataSize, align(i.Data.Offset+i.Size))
		}
		i.Mtime.Sec = min(max(0, i.Mtime.Sec), lastTime.Unix()-1)
		return nil
	})
	x.Compression = []Compression{Gzip, Zstd, Plain, Whole}[r.IntN(4)]
	distance := func() int64 {
		return []int64{0, 0, 512, 4096 * r.Int64N(3), r.Int64N(5000), r.Int64N(1 << 36)}[r.IntN(6)]
	}
	var last Chunk
	for range r.IntN(40) {
		c := last
		c.DataOffset += c.Size + distance()
		if r.IntN(2) == 0 {
			c.DataOffset = align(c.DataOffset)
		}
		if c.InnerOffset += c.Size + distance(); last.Size == 0 || c.InnerOffset > maxInner || r.IntN(3) == 0 {
			c.BlobOffset = c.BlobEnd + distance()
			c.BlobEnd, c.InnerOffset = c.BlobOffset+1+distance(), distance()
		}
		c.Size = 1 + []int64{r.Int64N(5000), r.Int64N(MaxChunkSize), MaxChunkSize - 1}[r.IntN(3)]
		c.Digest[r.IntN(32)] = byte(r.IntN(256))
		x.Chunks = append(x.Chunks, c)
		last = c
	}
	return x
}

// removeSockets removes what no tar has.
func removeSockets(dir *tree.Inode) {
	if !dir.IsDir() {
		return
	}
	for _, e := range dir.Dir.Entries() {
		if e.Inode.Type() == 0o140000 {
			dir.Dir.Remove(e.Name)
		}
	}
}

func TestDocumentRefuses(t *testing.T) {
	_, x := pointedIndex(t, 1)
	_, other := pointedIndex(t, 2)
	size := x.Chunks[len(x.Chunks)-1].BlobEnd
	root := func(change func(root *tree.Inode)) func(d *Document) {
		return func(d *Document) {
			d.Root = tree.NewDir(0o755)
			change(d.Root)
		}
	}
	file := func(i tree.Inode) func(d *Document) {
		return root(func(root *tree.Inode) { root.Dir.Add("file", &i) })
	}
	deep := strings.Repeat("x", 250)
	for name, change := range map[string]func(d *Document){
		"nothing":               func(d *Document) {},
		"no blob":               func(d *Document) { d.Blob = "" },
		"no diffID":             func(d *Document) { d.DiffID = "" },
		"no digest":             func(d *Document) { d.TOCDigest = "sha256:" },
		"another algorithm":     func(d *Document) { d.Blob = digest.NewDigestFromEncoded(digest.SHA512, strings.Repeat("0", 128)) },
		"a short blob":          func(d *Document) { d.BlobSize = size - 1 },
		"a negative blob":       func(d *Document) { d.BlobSize = -1 },
		"a huge blob":           func(d *Document) { d.BlobSize = math.MaxInt64 },
		"a short data file":     func(d *Document) { d.DataSize = 4096 },
		"an odd data file":      func(d *Document) { d.DataSize++ },
		"a huge data file":      func(d *Document) { d.DataSize = math.MaxInt64 &^ 4095 },
		"a large prefetch":      func(d *Document) { d.PrefetchSize = d.BlobSize + 1 },
		"a negative prefetch":   func(d *Document) { d.PrefetchSize = -1 },
		"no compression":        func(d *Document) { d.Compression, d.Points = "", nil },
		"no points":             func(d *Document) { d.Points = nil },
		"points of another":     func(d *Document) { d.Points = other.Points },
		"damaged windows":       func(d *Document) { d.Points = damagedWindows(d.Points) },
		"points of no use":      func(d *Document) { d.Compression = Gzip },
		"chunks in no order":    func(d *Document) { d.Chunks[1], d.Chunks[2] = d.Chunks[2], d.Chunks[1] },
		"no tree":               func(d *Document) { d.Root = nil },
		"a tree that is a file": func(d *Document) { d.Root = &tree.Inode{Mode: 0o100644} },
		"contents behind the end": file(tree.Inode{Mode: 0o100644, Size: 10,
			Data: tree.Extent{Offset: x.DataSize}}),
		"contents of another layer": file(tree.Inode{Mode: 0o100644, Size: 10, Data: tree.Extent{Layer: 1}}),
		"overlayfs's attributes":    file(tree.Inode{Mode: 0o100644, Xattrs: map[string]string{"trusted.overlay.metacopy": ""}}),
		"overlayfs's user attributes": file(tree.Inode{Mode: 0o100644,
			Xattrs: map[string]string{"user.overlay.opaque": "y"}}),
		"a large attribute": file(tree.Inode{Mode: 0o100644, Xattrs: map[string]string{"user.a": strings.Repeat("a", maxXattrValue+1)}}),
		"a link to nothing": file(tree.Inode{Mode: 0o120777}),
		"a long link":       file(tree.Inode{Mode: 0o120777, Target: strings.Repeat("a", maxPath+1)}),
		"a socket":          file(tree.Inode{Mode: 0o140644}),
		"no owner":          file(tree.Inode{Mode: 0o100644, UID: math.MaxUint32}),
		"a negative time":   file(tree.Inode{Mode: 0o100644, Mtime: tree.Time{Sec: -1}}),
		"a late time":       file(tree.Inode{Mode: 0o100644, Mtime: tree.Time{Sec: math.MaxInt64}}),
		"a device":          file(tree.Inode{Mode: 0o020644, Device: tree.Device{Major: 1 << 12}}),
		"a long path": root(func(dir *tree.Inode) {
			for range 17 {
				child := tree.NewDir(0o755)
				dir.Dir.Add(deep, child)
				dir = child
			}
		}),
	} {
		index := *x
		index.Chunks = slices.Clone(x.Chunks)
		d := &Document{Blob: digest.FromString("blob"), BlobSize: size, DiffID: digest.FromString("tar"), Index: &index}
		change(d)
		if _, err := EncodeDocument(d); (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// resumDocument gives the encoded document b the right checksum.
func resumDocument(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[len(documentMagic):], crc32.Checksum(b[documentHeader:], castagnoli))
	return b
}

// TestDamagedDocument changes bytes and cuts off the end.
func TestDamagedDocument(t *testing.T) {
	good, err := EncodeDocument(documentOf(t, plainForms[0].compress(t, tarOf(t, someMembers()))))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if _, err := DecodeDocument(bad); !errors.Is(err, ErrDocument) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := DecodeDocument(good[:i]); !errors.Is(err, ErrDocument) {
			t.Fatalf("%d bytes: %v", i, err)
		}
		if i < documentHeader {
			continue
		}
		if _, err := DecodeDocument(resumDocument(slices.Clone(good[:i]))); !errors.Is(err, ErrDocument) {
			t.Fatalf("%d bytes with the right checksum: %v", i, err)
		}
	}
	if _, err := DecodeDocument(resumDocument(append(slices.Clone(good), 0))); err == nil {
		t.Error("a byte more: no error")
	}
}

func TestResumes(t *testing.T) {
	chunks := func(streams ...int64) (chunks []Chunk) {
		var at int64
		for i, n := range streams {
			chunks = append(chunks, Chunk{DataOffset: int64(i) * 4096, Size: 1, BlobOffset: at, BlobEnd: at + n})
			at += n
		}
		return chunks
	}
	for _, c := range []struct {
		compression Compression
		chunks      []Chunk
		want        bool
	}{
		{Plain, nil, true},
		{Plain, chunks(1), true},
		{Whole, chunks(1, 1), false},
		{Zstd, nil, false},
		{Zstd, chunks(1000), false},
		{Zstd, chunks(1000, largestStream), true},
		{Zstd, chunks(1000, largestStream+1), false},
		{Gzip, chunks(1000, 1000), true},
	} {
		table, err := DecodeTable(EncodeTable(&Index{Compression: c.compression, Chunks: c.chunks}))
		if err != nil {
			t.Fatal(err)
		}
		if table.Resumes() != c.want {
			t.Errorf("%s, %d chunks: %v", c.compression, len(c.chunks), !c.want)
		}
	}
	_, x := pointedIndex(t, 1)
	if !tableOf(t, x).Resumes() {
		t.Error("points: false")
	}
}

// TestRestore compares an index with the one that is restored from what a store has of it.
func TestRestore(t *testing.T) {
	for _, f := range slices.Concat(forms, plainForms) {
		x, _ := f.compress(t, tarOf(t, someMembers())).mustOpen(t)
		got, err := Restore(EncodeTable(x), EncodeTree(x.Root))
		if err != nil {
			t.Fatal(err)
		}
		checkEqualTrees(t, x.Root, got.Root)
		got.Root, got.DataSize, got.TOCDigest, got.CompressedTOCDigest = x.Root, x.DataSize, x.TOCDigest, x.CompressedTOCDigest
		if !reflect.DeepEqual(got, x) {
			t.Errorf("%s: %+v, restored %+v", f.name, x, got)
		}
	}
	if _, err := Restore(nil, nil); err == nil {
		t.Error("no error for nothing")
	}
}
