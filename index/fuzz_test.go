package index

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

func FuzzParseFooter(f *testing.F) {
	tarball := tarOf(f, someMembers())
	for _, form := range forms {
		b := form.compress(f, tarball)
		f.Add(b.data[len(b.data)-TailSize:], int64(len(b.data)))
	}
	f.Add(legacyFooter(100), int64(1000))
	f.Fuzz(func(t *testing.T, tail []byte, size int64) {
		var footer Footer
		var err error
		memtest.BoundSmall(t, len(tail), 16, func() { footer, err = ParseFooter(tail, size) })
		if err != nil {
			return
		}
		if footer.PayloadSize < 0 || footer.PayloadSize > size {
			t.Errorf("payload: %+v of %d", footer, size)
		}
		if footer.TOCOffset != -1 && (footer.TOCOffset < footer.PayloadSize || footer.TOCSize <= 0 ||
			footer.TOCSize > maxTOC || footer.TOCSize > size-footer.TOCOffset) {
			t.Errorf("TOC: %+v of %d", footer, size)
		}
	})
}

// textGarbage is how many bytes are allocated, and soon free again, for each byte
// of JSON.
const textGarbage = 32

// FuzzParse has compressed TOCs.
func FuzzParse(f *testing.F) {
	tarball := tarOf(f, someMembers())
	for _, form := range forms {
		b := form.compress(f, tarball)
		_, footer := b.mustOpen(f)
		toc := b.toc
		if toc == nil {
			toc = b.data[footer.TOCOffset:][:footer.TOCSize]
		}
		f.Add(toc, footer.PayloadSize, footer.Compression == Zstd)
	}
	f.Fuzz(func(t *testing.T, toc []byte, payload int64, isZstd bool) {
		footer := Footer{PayloadSize: payload, Compression: Gzip}
		if isZstd {
			footer.Compression = Zstd
		}
		var index *Index
		var err error
		most := Memory(int64(len(toc))) + textGarbage*(textFloor+textRatio*int64(len(toc)))
		memtest.Bound(t, most, func() { index, err = Parse(bytes.NewReader(toc), footer) })
		if err == nil {
			checkIndex(t, index, payload)
		}
	})
}

// FuzzEntries has the documents of TOCs, which a fuzzer that has to compress
// them would seldom hit.
func FuzzEntries(f *testing.F) {
	for _, s := range []string{
		files,
		`{"name":"a","type":"reg","size":10,"offset":1,"chunkSize":4,"chunkDigest":"` + sumA + `"},{"name":"a","type":"chunk","offset":2,"chunkOffset":4,"chunkDigest":"` + sumB + `","chunkType":"zeros"}`,
		`{"name":"d/","type":"dir","mode":509,"uid":1,"gid":2,"modtime":"2020-01-01T00:00:00Z","xattrs":{"user.a":"AAAA"}},{"name":"d/.wh.x","type":"reg"},{"name":"d/.wh..wh..opq","type":"reg"}`,
		files + `,{"name":"l","type":"hardlink","linkName":"a"},{"name":"s","type":"symlink","linkName":"/x"},{"name":"a","type":"dir"},{"name":"c","type":"char","devMajor":1,"devMinor":3}`,
		`{"name":"a","type":"reg","size":3,"offset":5,"innerOffset":9,"endOffset":20,"digest":"` + sumA + `"},{"name":"a/b","type":"fifo"}`,
		`{"name":".prefetch.landmark","type":"reg","size":1,"offset":50,"digest":"` + sumA + `"}`,
	} {
		f.Add([]byte(`{"version":1,"entries":[` + s + `]}`))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		memory := &budget{limit: func() int64 { return Memory(int64(len(document))) }}
		x := newExtraction(1000, memory)
		var err error
		n := memtest.Allocated(func() { err = readEntries(bytes.NewReader(document), x.add) })
		if limit := 1<<20 + textGarbage*int64(len(document)) + memory.spent; n > limit {
			t.Errorf("%d bytes allocated for %d, with %d in the accounts", n, len(document), memory.spent)
		}
		if err != nil {
			return
		}
		if index, err := x.finish(); err == nil {
			index.Compression = Gzip
			checkIndex(t, index, 1000)
		}
	})
}

// checkIndex makes sure of what an index must be however hostile its TOC was.
func checkIndex(t *testing.T, index *Index, payload int64) {
	files := map[*tree.Inode]bool{}
	names := map[*tree.Inode]uint32{}
	err := tree.Walk(index.Root, func(path string, inode *tree.Inode) error {
		if name := path[strings.LastIndexByte(path, '/')+1:]; path != "" && !validName(name) {
			t.Errorf("name in %q", path)
		}
		if len(path) > 2*maxPath {
			t.Errorf("path of %d bytes", len(path))
		}
		names[inode]++
		if inode.Size > 0 {
			files[inode] = true
		}
		for name := range inode.Xattrs {
			if strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "user.overlay.") {
				t.Errorf("%q has %q", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for inode, n := range names {
		if inode != index.Root && !inode.IsDir() && inode.Nlink != n {
			t.Errorf("%d links for %d names", inode.Nlink, n)
		}
	}
	checkExtents(t, files, index.DataSize)
	if index.PrefetchSize < 0 || index.PrefetchSize > payload {
		t.Errorf("prefetch %d of %d", index.PrefetchSize, payload)
	}
	for _, c := range index.Chunks {
		if c.BlobEnd > payload || c.DataOffset+c.Size > index.DataSize {
			t.Errorf("%+v in a payload of %d and data of %d", c, payload, index.DataSize)
		}
	}
	if _, err := DecodeTable(EncodeTable(index)); err != nil {
		t.Error(err)
	}
	got, err := DecodeTree(EncodeTree(index.Root))
	if err != nil {
		t.Fatal(err)
	}
	checkEqualTrees(t, index.Root, got)
}

// checkExtents makes sure that files lie apart in a data file of size bytes.
func checkExtents(t *testing.T, files map[*tree.Inode]bool, size int64) {
	var extents []tree.Inode
	for inode := range files {
		extents = append(extents, *inode)
	}
	slices.SortFunc(extents, func(a, b tree.Inode) int { return int(a.Data.Offset - b.Data.Offset) })
	var end int64
	for _, e := range extents {
		if e.Data.Offset < end || e.Data.Offset%tree.BlockSize != 0 {
			t.Errorf("extent at %d, before %d", e.Data.Offset, end)
		}
		end = e.Data.Offset + e.Size
	}
	if align(end) != size {
		t.Errorf("extents end at %d of %d", end, size)
	}
}

// placesMemory is what decoding the places of a list of points may allocate, when a frame of zstd
// does not say how long it is.
const placesMemory = 4 * 24 << 20

func FuzzDecodeTable(f *testing.F) {
	f.Add(EncodeTable(&Index{Chunks: someChunks(3), Compression: Zstd, PrefetchSize: 9})[tableSummed:])
	for _, form := range forms {
		index, _ := form.compress(f, tarOf(f, someMembers())).mustOpen(f)
		f.Add(EncodeTable(index)[tableSummed:])
	}
	for _, form := range plainForms {
		index, _ := form.compress(f, tarOf(f, someMembers())).mustOpen(f)
		f.Add(EncodeTable(index)[tableSummed:])
	}
	_, pointed := pointedIndex(f, 1)
	f.Add(EncodeTable(pointed)[tableSummed:])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := make([]byte, tableSummed)
		copy(b, tableMagic)
		b = append(b, body...)
		binary.LittleEndian.PutUint64(b[len(tableMagic):], tableSum(b))
		var table Table
		var err error
		if bytes.HasPrefix(body[min(len(body), 8):], []byte(Points)) {
			memtest.Bound(t, placesMemory+128*int64(len(b)), func() { table, err = DecodeTable(b) })
		} else {
			memtest.BoundSmall(t, 0, 0, func() { table, err = DecodeTable(b) })
		}
		if err != nil {
			return
		}
		x := Index{Compression: table.Compression(), PrefetchSize: table.PrefetchSize()}
		if x.Compression == Points {
			end := len(b) - 8
			x.Points = b[end-int(binary.LittleEndian.Uint64(b[end:])) : end]
		}
		for i := range table.Len() {
			c := table.At(i)
			x.Chunks = append(x.Chunks, c)
			if table.Search(c.DataOffset) != i || table.Search(c.DataOffset+c.Size-1) != i || table.Search(c.DataOffset+c.Size) != i+1 {
				t.Errorf("chunk %d is not found where it is", i)
			}
		}
		if !bytes.Equal(EncodeTable(&x), b) {
			t.Error("encoded otherwise")
		}
	})
}

func FuzzDecodeTree(f *testing.F) {
	for seed := range uint64(5) {
		root := treetest.Random(rand.New(rand.NewPCG(seed, 0)), treetest.Shape{Inodes: 20, Layer: true, MaxXattr: 20})
		f.Add(encodeBody(root), false)
		f.Add(EncodeTree(root)[treeHeader:], true)
	}
	f.Add(append(zstdFrame(32<<20, false), 0), true)
	f.Fuzz(func(t *testing.T, body []byte, compressed bool) {
		var root *tree.Inode
		var err error
		if compressed {
			b := make([]byte, treeHeader)
			copy(b, treeMagic)
			b = append(b, body...)
			binary.LittleEndian.PutUint32(b[len(treeMagic):], crc32.Checksum(body, castagnoli))
			memtest.Bound(t, 1<<15*int64(len(body)), func() { root, err = DecodeTree(b) }) // what zstd reaches
		} else {
			memtest.BoundSmall(t, len(body), 128, func() { root, err = decodeBody(string(body), maxMemory) })
		}
		if err != nil {
			return
		}
		again, err := DecodeTree(EncodeTree(root))
		if err != nil {
			t.Fatal(err)
		}
		checkEqualTrees(t, root, again)
	})
}

// FuzzReadClaim has manifests.
func FuzzReadClaim(f *testing.F) {
	blob := digest.FromString("blob")
	for _, s := range []string{
		`{"digest":"` + blob.String() + `","size":100,"annotations":{"containerd.io/snapshot/stargz/toc.digest":"` + sumA + `"}}`,
		`{"digest":"` + blob.String() + `","size":1000,"annotations":{"io.github.containers.zstd-chunked.manifest-checksum":"` + sumA +
			`","io.github.containers.zstd-chunked.manifest-position":"100:20:30:1","io.github.containers.zstd-chunked.tarsplit-position":"150:9:10"}}`,
		`{"digest":"` + sumB + `","size":7,"annotations":{"containerd.io/snapshot/stargz/layer.digest":"` + blob.String() + `"}}`,
		`{},{},{}`,
	} {
		f.Add([]byte(`{"schemaVersion":2,"layers":[` + s + `]}`))
	}
	f.Fuzz(func(t *testing.T, manifest []byte) {
		var claim Claim
		var err error
		memtest.BoundSmall(t, len(manifest), 256, func() { claim, err = ReadClaim(manifest, blob) })
		if err == nil && claim.Footer != (Footer{}) && claim.Footer.check(claim.Size) != nil {
			t.Errorf("%+v", claim)
		}
		var size int64
		memtest.BoundSmall(t, len(manifest), 256, func() { _, size, err = ExternalTOC(manifest, blob) })
		if err == nil && (size <= 0 || size > maxTOC) {
			t.Errorf("external TOC of %d bytes", size)
		}
	})
}

// FuzzDecodeDocument has what follows the checksum of a document.
func FuzzDecodeDocument(f *testing.F) {
	for _, form := range append(slices.Clone(forms), plainForms...) {
		b, err := EncodeDocument(documentOf(f, form.compress(f, tarOf(f, someMembers()))))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[documentHeader:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := make([]byte, documentHeader)
		copy(b, documentMagic)
		b = resumDocument(append(b, body...))
		var d *Document
		var err error
		most := 4*Memory(int64(len(b))) + placesMemory + 256*int64(len(b))
		memtest.Bound(t, most, func() { d, err = DecodeDocument(b) })
		if err == nil {
			checkDocument(t, d)
		}
	})
}
