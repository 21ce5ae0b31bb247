package index

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/inflate"
)

// lateTeller is the tar of a blob whose streams begin at cuts. It says so when the byte
// behind a cut is read, as late as it may.
type lateTeller struct {
	u    *unpacker
	rest []byte
	pos  int64
	cuts []int64
}

func (l *lateTeller) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		return 0, io.EOF
	}
	for len(l.cuts) > 0 && l.cuts[0] == l.pos {
		l.u.begins = append(l.u.begins, beginning{l.pos, l.pos})
		l.cuts = l.cuts[1:]
	}
	if len(l.cuts) > 0 {
		p = p[:min(int64(len(p)), l.cuts[0]-l.pos)]
	}
	n := copy(p, l.rest)
	l.rest, l.pos = l.rest[n:], l.pos+int64(n)
	return n, nil
}

func (*lateTeller) Close() error { return nil }

// TestChunksEndWhereStreamsDo has streams that begin anywhere in a tar, also at the ends of
// the pipeline's blocks: no chunk is in two of them.
func TestChunksEndWhereStreamsDo(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var members []member
		for n := range 5 {
			members = append(members, reg(fmt.Sprint(n), string(noise(r, r.IntN(3<<20)))))
		}
		tarball := tarOf(t, members)
		cuts := []int64{0}
		for at := int64(0); at < int64(len(tarball)); at += 1 + r.Int64N(2*pipelineBlock) {
			if seed%2 == 0 {
				at = (at + pipelineBlock - 1) / pipelineBlock * pipelineBlock
			}
			if at > 0 {
				cuts = append(cuts, at)
			}
		}
		u := &unpacker{compression: Gzip, source: &counter{}, in: newBuffered(nil)}
		u.stream = &lateTeller{u: u, rest: tarball, cuts: slices.Clone(cuts)}
		p := newPipeline(u, sha256.New())
		in := &tarInput{tar: p, p: p}
		file := &tarFile{
			ctx: t.Context(), x: newExtraction(0, nil), in: in, reader: tar.NewReader(in), out: newDataWriter(&cappedData{}),
		}
		if err := file.readAll(); err != nil {
			t.Fatal(err)
		}
		p.stop()
		for _, c := range file.chunks {
			for _, cut := range cuts {
				if c.InnerOffset < cut && cut < c.InnerOffset+c.Size {
					t.Errorf("seed %d: a chunk of %d bytes at %d of the tar, and a stream at %d", seed, c.Size, c.InnerOffset, cut)
				}
			}
		}
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

// someTar returns a tar of some MB with files of several kinds.
func someTar(t testing.TB, r *rand.Rand) []byte {
	words := noise(r, 4000)
	var members []member
	for n := range 20 {
		p := noise(r, r.IntN(400_000))
		switch r.IntN(4) {
		case 0:
			clear(p[len(p)/3:])
		case 1, 2:
			for i := 0; i+20 <= len(p); i += 20 {
				copy(p[i:], words[r.IntN(len(words)-20):][:20])
			}
		}
		members = append(members, reg(fmt.Sprint(n), string(p)))
	}
	return tarOf(t, members)
}

// gzipOf compresses p with levels, lengths of members and flushes that r takes.
func gzipOf(t testing.TB, r *rand.Rand, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	most := []int{100_000, 2 << 20, len(p)}[r.IntN(3)]
	for len(p) > 0 {
		w, err := gzip.NewWriterLevel(&b, r.IntN(12)-2) // from gzip.HuffmanOnly to BestCompression
		if err != nil {
			t.Fatal(err)
		}
		n := min(len(p), 1+r.IntN(most))
		for rest := p[:n]; len(rest) > 0; {
			k := min(len(rest), 1+r.IntN(1<<20))
			w.Write(rest[:k])
			if rest = rest[k:]; r.IntN(2) == 0 {
				w.Flush()
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	return b.Bytes()
}

// TestChunksComeFromPoints imports blobs of many kinds, and reads each chunk from the bytes of
// its stream alone, in any order: they are those of the tar.
func TestChunksComeFromPoints(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		tarball := someTar(t, r)
		b := plainBlob(tarball, gzipOf(t, r, tarball))
		index, _ := b.mustOpen(t)
		if index.Compression != Points {
			t.Fatalf("compression %q", index.Compression)
		}
		table := tableOf(t, index)
		starts := map[int64]bool{}
		for _, i := range r.Perm(table.Len()) {
			c := table.At(i)
			starts[c.BlobOffset] = true
			got, err := readChunk(b, table, c)
			at := table.points.Place(table.pointOf(&c)).Out + c.InnerOffset
			if err != nil || !bytes.Equal(got, tarball[at:at+c.Size]) {
				t.Errorf("seed %d: chunk %+v: %v", seed, c, err)
			}
			if c.InnerOffset+c.Size > 3*pointSpacing {
				t.Errorf("seed %d: a chunk ends at %d of its stream", seed, c.InnerOffset+c.Size)
			}
		}
		if n := len(tarball) / pointSpacing; len(starts) < n/3 {
			t.Errorf("seed %d: %d streams with chunks, of a tar of %d bytes", seed, len(starts), len(tarball))
		}
	}
}

// pointedIndex returns the index of a gzip layer that has several points.
func pointedIndex(t testing.TB, seed uint64) (*blob, *Index) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	tarball := someTar(t, r)
	b := plainBlob(tarball, gzipMembers(t, tarball, len(tarball)))
	index, _ := b.mustOpen(t)
	return b, index
}

func TestTableOfPointsRefuses(t *testing.T) {
	_, index := pointedIndex(t, 1)
	_, other := pointedIndex(t, 2)
	for name, change := range map[string]func(x *Index){
		"nothing":             func(x *Index) {},
		"no list":             func(x *Index) { x.Points = nil },
		"a list that is cut":  func(x *Index) { x.Points = x.Points[:len(x.Points)-1] },
		"no point at a chunk": func(x *Index) { x.Chunks[0].BlobOffset++ },
		"another blob's list": func(x *Index) { x.Points = other.Points },
		"old":                 func(x *Index) { x.Compression = "members" },
	} {
		x := *index
		x.Chunks = slices.Clone(index.Chunks)
		change(&x)
		if _, err := DecodeTable(EncodeTable(&x)); (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := EncodeTable(index)
	for _, size := range []uint64{0, 1, uint64(len(index.Points) - 1), uint64(len(good)), 1 << 63} {
		bad := slices.Clone(good)
		binary.LittleEndian.PutUint64(bad[len(bad)-8:], size)
		binary.LittleEndian.PutUint64(bad[len(tableMagic):], tableSum(bad))
		if _, err := DecodeTable(bad); err == nil {
			t.Errorf("no error for points of %d bytes", size)
		}
	}
}

// TestOtherWindows has a list with the places of a blob and other bytes in its windows: the
// digests of chunks tell.
func TestOtherWindows(t *testing.T) {
	b, index := pointedIndex(t, 1)
	list, err := inflate.Decode(index.Points)
	if err != nil {
		t.Fatal(err)
	}
	var e inflate.Encoder
	for i := range list.Len() {
		p, err := list.Point(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range p.Window.Bytes {
			p.Window.Bytes[k] ^= 1
		}
		if err := e.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	index.Points = e.Bytes()
	table := tableOf(t, index)
	wrong := 0
	for i := range table.Len() {
		if _, err := readChunk(b, table, table.At(i)); err != nil { // it compares the digest
			wrong++
		}
	}
	if wrong == 0 {
		t.Error("no chunk has other bytes")
	}
}

// TestDamagedWindow has a window that cannot be decoded: that is no fault of the blob.
func TestDamagedWindow(t *testing.T) {
	b, index := pointedIndex(t, 1)
	index.Points = damagedWindows(index.Points)
	table := tableOf(t, index)
	failed := 0
	for i := range table.Len() {
		_, err := readChunk(b, table, table.At(i))
		if errors.Is(err, ErrPoints) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
	}
	if failed == 0 {
		t.Error("all chunks could be read")
	}
	if _, err := table.NewReader(newBuffered(b.data), Chunk{BlobOffset: 1}); !errors.Is(err, ErrPoints) {
		t.Errorf("of no chunk: %v", err)
	}
}

// damagedWindows changes the last bytes of a list of points, and its checksum.
func damagedWindows(points []byte) []byte {
	bad := slices.Clone(points[:len(points)-4])
	for i := len(bad) - 100; i < len(bad); i++ {
		bad[i] ^= 0xff
	}
	return binary.LittleEndian.AppendUint32(bad, crc32.Checksum(bad, castagnoli))
}

// TestPointsTakeBoundedMemory has windows as large as they can be: the more points there are,
// the farther they are apart, and each stream has its point.
func TestPointsTakeBoundedMemory(t *testing.T) {
	var u unpacker
	r := rand.New(rand.NewPCG(1, 4))
	const places = 6000
	for n := range int64(places) {
		p := inflate.Point{Place: inflate.Place{In: n * 1000, Out: n * pointSpacing}}
		if n > 0 {
			p.Window = inflate.Window{Runs: []inflate.Run{{Back: 32 << 10, Len: 32 << 10}}, Bytes: noise(r, 32<<10)}
		}
		u.addPlace(p.Place)
		if err := u.addPoint(p); err != nil {
			t.Fatal(err)
		}
	}
	if n := u.points.Size(); n < pointsMemory || n > 5*pointsMemory {
		t.Errorf("%d bytes for %d places", n, places)
	}
	list, err := inflate.Decode(u.points.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if list.Len() != len(u.begins) {
		t.Fatalf("%d points for %d streams", list.Len(), len(u.begins))
	}
	for i, b := range u.begins {
		if p := list.Place(i); p.In != b.blob || p.Out != b.tar {
			t.Errorf("stream %d begins at %+v, and its point is at %+v", i, b, p)
		}
	}
}
