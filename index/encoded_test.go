package index

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

func someChunks(n int) []Chunk {
	chunks := make([]Chunk, n)
	for i := range chunks {
		at := int64(i)
		chunks[i] = Chunk{DataOffset: at * 8192, Size: 5000, BlobOffset: at / 2 * 100, BlobEnd: (at/2 + 1) * 100, InnerOffset: at % 2 * 6000}
		chunks[i].Digest[0] = byte(i)
	}
	return chunks
}

func TestTable(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		want := someChunks(n)
		table, err := DecodeTable(EncodeTable(&Index{Chunks: want, Compression: Zstd, PrefetchSize: 77}))
		if err != nil {
			t.Fatal(err)
		}
		if table.Compression() != Zstd || table.PrefetchSize() != 77 {
			t.Errorf("compression %q, prefetch %d", table.Compression(), table.PrefetchSize())
		}
		if table.Len() != n {
			t.Fatalf("%d chunks, want %d", table.Len(), n)
		}
		for i, c := range want {
			if table.At(i) != c {
				t.Errorf("chunk %d: %+v, want %+v", i, table.At(i), c)
			}
		}
		for off := int64(-1); off < int64(n+1)*8192; off += 1 + off&7*500 {
			i := slices.IndexFunc(want, func(c Chunk) bool { return c.DataOffset+c.Size > off })
			if i < 0 {
				i = n
			}
			if got := table.Search(off); got != i {
				t.Errorf("Search(%d) = %d, want %d", off, got, i)
			}
		}
	}
}

func TestTableRefuses(t *testing.T) {
	good := EncodeTable(&Index{Chunks: someChunks(4), Compression: Gzip})
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if _, err := DecodeTable(bad); err == nil {
			t.Fatalf("no error with byte %d changed", i)
		}
		if _, err := DecodeTable(good[:i]); err == nil {
			t.Fatalf("no error with %d bytes", i)
		}
	}
	for name, change := range map[string]func(c []Chunk){
		"no size":         func(c []Chunk) { c[1].Size = 0 },
		"large":           func(c []Chunk) { c[3].Size = MaxChunkSize + 1 },
		"negative":        func(c []Chunk) { c[0].DataOffset = -1 },
		"overflow":        func(c []Chunk) { c[3].DataOffset = 1<<63 - 1 },
		"overlap":         func(c []Chunk) { c[2].DataOffset = c[1].DataOffset + 4999 },
		"order":           func(c []Chunk) { c[1], c[2] = c[2], c[1] },
		"empty stream":    func(c []Chunk) { c[3].BlobEnd = c[3].BlobOffset },
		"negative stream": func(c []Chunk) { c[0].BlobOffset = -1 },
		"stream too long": func(c []Chunk) { c[0].BlobEnd++; c[1].BlobEnd++ },
		"two ends":        func(c []Chunk) { c[0].BlobEnd-- },
		"inner overlap":   func(c []Chunk) { c[1].InnerOffset = 4999 },
		"inner negative":  func(c []Chunk) { c[0].InnerOffset = -1 },
		"inner overflow":  func(c []Chunk) { c[1].InnerOffset = 1<<63 - 1 },
	} {
		chunks := someChunks(4)
		change(chunks)
		if _, err := DecodeTable(EncodeTable(&Index{Chunks: chunks, Compression: Gzip})); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, x := range []Index{{}, {Compression: "lzma"}, {Compression: Gzip, PrefetchSize: -1}} {
		if _, err := DecodeTable(EncodeTable(&x)); err == nil {
			t.Errorf("no error for %+v", x)
		}
	}
}

func TestTree(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		want := treetest.Random(r, treetest.Shape{Inodes: r.IntN(300), Layer: true, MaxXattr: 100, OddNames: true, LongLinks: true})
		tree.Walk(want, func(_ string, inode *tree.Inode) error {
			if inode.IsDir() {
				inode.Dir.Implied = r.IntN(2) == 0
			}
			return nil
		})
		encoded := EncodeTree(want)
		got, err := DecodeTree(encoded)
		if err != nil {
			t.Fatal(err)
		}
		checkEqualTrees(t, want, got)
		if !bytes.Equal(EncodeTree(got), encoded) {
			t.Error("encoded otherwise the second time")
		}
	}
}

// checkEqualTrees compares all that two trees have.
func checkEqualTrees(t testing.TB, want, got *tree.Inode) {
	t.Helper()
	if diffs := treetest.Diff(want, got); len(diffs) > 0 {
		t.Fatalf("the tree and the decoded one:%s", treetest.Lines(diffs, 20))
	}
	tree.Walk(want, func(path string, a *tree.Inode) error {
		if b := lookupIn(got, path); a.IsDir() && a.Dir.Implied != b.Dir.Implied || a.Size > 0 && a.Data != b.Data || len(a.Xattrs) != len(b.Xattrs) {
			t.Errorf("%q: %+v, decoded %+v", path, a, b)
		}
		return nil
	})
}

func TestTreeRefuses(t *testing.T) {
	good := EncodeTree(treetest.Random(rand.New(rand.NewPCG(1, 2)), treetest.Shape{Inodes: 50, Layer: true, MaxXattr: 100}))
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if _, err := DecodeTree(bad); err == nil {
			t.Fatalf("no error with byte %d changed", i)
		}
		if _, err := DecodeTree(good[:i]); err == nil {
			t.Fatalf("no error with %d bytes", i)
		}
	}
	root := tree.NewDir(0o755)
	for _, name := range []string{"", ".", "..", "a/b", "a\x00"} {
		root.Dir.Add(name, &tree.Inode{Mode: 0o100644})
		if _, err := DecodeTree(EncodeTree(root)); err == nil {
			t.Errorf("no error for the name %q", name)
		}
		root.Dir.Remove(name)
	}
	if _, err := DecodeTree(EncodeTree(&tree.Inode{Mode: 0o100644})); err == nil {
		t.Error("no error for a root that is a file")
	}
}

// TestDeepTree has as many directories in one another as a path can name.
func TestDeepTree(t *testing.T) {
	name := bytes.Repeat([]byte("d/"), 2047)
	index, err := Parse(bytes.NewReader(tocOf(t, `{"name":"`+string(name)+`","type":"dir"}`)), hostileFooter)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeTree(EncodeTree(index.Root))
	if err != nil {
		t.Fatal(err)
	}
	checkEqualTrees(t, index.Root, got)
}
