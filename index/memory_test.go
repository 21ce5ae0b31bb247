package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/memtest"
)

func zstdOf(document []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err) // there are no options
	}
	return w.EncodeAll(document, nil)
}

// list returns n entries.
func list(n int, entry func(i int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(entry(i))
	}
	return b.String()
}

// hostileLists are small TOCs that stand for much.
var hostileLists = map[string]func() string{
	"deep paths": func() string {
		deep := strings.Repeat("a/", 2000)
		return list(1500, func(i int) string { return fmt.Sprintf(`{"name":"%d/%s","type":"dir"}`, i, deep) })
	},
	"deep whiteouts": func() string {
		deep := strings.Repeat("a/", 1900)
		return list(1500, func(i int) string { return fmt.Sprintf(`{"name":"%d/%s.wh.x","type":"reg"}`, i, deep) })
	},
	"empty directories": func() string {
		return list(250_000, func(i int) string { return fmt.Sprintf(`{"name":"%d","type":"dir"}`, i) })
	},
	"directories of one": func() string {
		return list(200_000, func(i int) string { return fmt.Sprintf(`{"name":"%d/a","type":"fifo"}`, i) })
	},
	"hard links": func() string {
		return files + "," + list(200_000, func(i int) string { return fmt.Sprintf(`{"name":"%d","type":"hardlink","linkName":"a"}`, i) })
	},
	"long targets": func() string {
		long := strings.Repeat("t", 4000)
		return list(20_000, func(i int) string { return fmt.Sprintf(`{"name":"%d","type":"symlink","linkName":"%s"}`, i, long) })
	},
	"long names": func() string {
		long := strings.Repeat("n", 200)
		return list(200_000, func(i int) string { return fmt.Sprintf(`{"name":"%s%d","type":"fifo"}`, long, i) })
	},
	"extended attributes": func() string {
		value := strings.Repeat("AAAA", 15_000)
		return list(2000, func(i int) string {
			return fmt.Sprintf(`{"name":"%d","type":"dir","xattrs":{"user.a":"%s"}}`, i, value)
		})
	},
	"extended attributes, again": func() string {
		value := strings.Repeat("AAAA", 15_000)
		return list(2000, func(i int) string {
			return fmt.Sprintf(`{"name":"a","type":"dir","xattrs":{"user.%d":"%s"}}`, i, value)
		})
	},
	"chunks": func() string {
		return `{"name":"f","type":"reg","size":200000,"chunkSize":1,"offset":1,"chunkType":"zeros"},` +
			list(199_999, func(i int) string {
				return fmt.Sprintf(`{"type":"chunk","offset":1,"chunkOffset":%d,"chunkSize":1,"chunkType":"zeros"}`, i+1)
			})
	},
}

// TestMemory has small TOCs that stand for much, in both compressions. They are
// refused, or take memory in proportion.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for name, entries := range hostileLists {
		list := entries()
		checkAccounts(t, name, []byte(`{"version":1,"entries":[`+list+`]}`))
		for _, c := range []Compression{Gzip, Zstd} {
			toc := zstdOf([]byte(`{"version":1,"entries":[` + list + `]}`))
			if c == Gzip {
				toc = tocOf(t, list)
			}
			checkMemory(t, fmt.Sprintf("%s, %s", name, c), toc, c)
		}
	}
}

// checkAccounts compares the heap with what the accounts say when they are at
// their limit.
func checkAccounts(t *testing.T, name string, document []byte) {
	t.Helper()
	const limit = 64 << 20
	x, growth := memtest.Held(func() *extraction {
		x := newExtraction(1<<40, &budget{limit: func() int64 { return limit }})
		_ = readEntries(bytes.NewReader(document), x.add) // it is refused, or all of it counts
		return x
	})
	t.Logf("%s: %d kB of heap, %d kB in the accounts", name, growth>>10, x.memory.spent>>10)
	if growth > x.memory.spent+1<<20 {
		t.Errorf("%s: %d bytes of heap, more than the %d in the accounts", name, growth, x.memory.spent)
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(document) // else it is what the heap shrinks by
}

func checkMemory(t *testing.T, name string, toc []byte, c Compression) {
	t.Helper()
	var err error
	index, growth := memtest.Held(func() (x *Index) {
		x, err = Parse(bytes.NewReader(toc), Footer{PayloadSize: 1 << 40, Compression: c})
		return x
	})
	t.Logf("%s: %d kB of TOC, %d kB of heap, %v", name, len(toc)>>10, growth>>10, err)
	if limit := Memory(int64(len(toc))); growth > limit+memtest.Floor {
		t.Errorf("%s: %d bytes of heap, more than %d", name, growth, limit)
	}
	if err == nil {
		root, growth := memtest.Held(func() any { return must(DecodeTree(EncodeTree(index.Root))) })
		if limit := Memory(int64(len(toc))); growth > limit+memtest.Floor {
			t.Errorf("%s: %d bytes of heap for the encoded tree, more than %d", name, growth, limit)
		}
		runtime.KeepAlive(root)
	}
	runtime.KeepAlive(index)
	runtime.KeepAlive(toc)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestMemoryWhileParsing has a TOC that is refused late. The heap is looked at
// when its last byte is asked for.
func TestMemoryWhileParsing(t *testing.T) {
	toc := tocOf(t, hostileLists["deep paths"]())
	var most runtime.MemStats
	_, err := Parse(&atEnd{bytes.NewReader(toc), func() { runtime.GC(); runtime.ReadMemStats(&most) }}, Footer{PayloadSize: 1000, Compression: Gzip})
	if err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("%v, want that it takes too much memory", err)
	}
	if limit := Memory(int64(len(toc))) + memtest.Floor; int64(most.HeapAlloc) > limit+100<<20 { // what other tests have left
		t.Errorf("%d bytes of heap", most.HeapAlloc)
	}
}

// atEnd calls a function when there is nothing left to read.
type atEnd struct {
	*bytes.Reader
	call func()
}

func (a *atEnd) Read(p []byte) (int, error) {
	if a.Len() == 0 {
		a.call()
	}
	return a.Reader.Read(p)
}

// TestLargeLayers has layers as images have them, which must not be refused.
func TestLargeLayers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for name, n := range map[string]int{"file": 100_000, "symlink": 100_000, "dir": 80_000, "hardlink": 100_000} {
		document := manyEntries(t, n, name)
		checkAccounts(t, name, document)
		for _, c := range []Compression{Gzip, Zstd} {
			toc := zstdOf(document)
			if c == Gzip {
				toc = packTOC(t, document)
			}
			checkMemory(t, fmt.Sprintf("%d of %s, %s", n, name, c), toc, c)
			if _, err := Parse(bytes.NewReader(toc), Footer{PayloadSize: 1 << 40, Compression: c}); err != nil {
				t.Errorf("%d of %s, %s: %v", n, name, c, err)
			}
		}
	}
}

// manyEntries returns the document of a layer with n entries of a kind, ten to a
// directory.
func manyEntries(t *testing.T, n int, kind string) []byte {
	t.Helper()
	const when = "2024-03-01T12:00:00Z"
	toc := estargz.JTOC{Version: 1, Entries: []*estargz.TOCEntry{{Name: "first", Type: "reg", ModTime3339: when}}}
	for i := range n {
		dir := fmt.Sprintf("usr/lib/python3/dist-packages/package%d/", i/10)
		if i%10 == 0 {
			toc.Entries = append(toc.Entries, &estargz.TOCEntry{Name: dir, Type: "dir", Mode: 0o755, ModTime3339: when})
		}
		e := &estargz.TOCEntry{Name: fmt.Sprintf("%sname%d.py", dir, i), Type: kind, Mode: 0o644, ModTime3339: when}
		switch kind {
		case "file":
			sum := digest.FromString(fmt.Sprint(i)).String()
			e.Type, e.Size, e.Offset, e.Digest, e.ChunkDigest = "reg", 5000, 100+int64(i)*2000, sum, sum
		case "symlink":
			e.LinkName = "../somewhere"
		case "hardlink":
			e.LinkName = "first"
		}
		toc.Entries = append(toc.Entries, e)
	}
	document, err := json.MarshalIndent(toc, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// zstdFrame returns the start of a frame whose header asks for a window, by its
// descriptor or as the size of a single segment (RFC 8878, section 3.1.1.1), and
// an empty last block.
func zstdFrame(window uint64, single bool) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd}
	if single {
		b = binary.LittleEndian.AppendUint64(append(b, 3<<6|1<<5), window)
	} else {
		log := byte(0)
		for uint64(1<<10)<<log < window {
			log++
		}
		b = append(b, 0, log<<3)
	}
	return append(b, 1, 0, 0)
}

// TestWindows has short streams that ask for large windows: what they take is
// told before, and none is larger than the largest window.
func TestWindows(t *testing.T) {
	for _, single := range []bool{false, true} {
		for window, want := range map[uint64]int64{1 << 10: usualWindow, 8 << 20: usualWindow, 64 << 20: 64 << 20, 1 << 30: maxWindow, 1 << 36: maxWindow} {
			for name, head := range map[string][]byte{"first": nil, "second": zstdFrame(1<<10, false), "behind a skippable one": {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}} {
				frame := append(bytes.Clone(head), zstdFrame(window, single)...)
				in := newBuffered(frame)
				told := Zstd.Memory(in)
				if name == "first" && told != want {
					t.Errorf("window of %d, single segment %v: %d bytes of memory, want %d", window, single, told, want)
				}
				got := memtest.Allocated(func() {
					r, err := Zstd.NewReader(in)
					if err != nil {
						t.Fatal(err)
					}
					r.Read(make([]byte, 10))
					r.Close()
				})
				if got > told+2<<20 {
					t.Errorf("%s frame, window of %d, single segment %v: %d bytes allocated, more than %d", name, window, single, got, told)
				}
			}
		}
	}
	for _, single := range []bool{false, true} {
		toc := zstdFrame(100<<20, single)
		if got := memtest.Allocated(func() { Parse(bytes.NewReader(toc), Footer{PayloadSize: 1000, Compression: Zstd}) }); got > memtest.Floor {
			t.Errorf("%d bytes allocated for a TOC of %d", got, len(toc))
		}
	}
}

// TestLongDocument has TOCs of a few kilobytes that become tens of megabytes
// of JSON.
func TestLongDocument(t *testing.T) {
	for name, document := range map[string]string{
		"white space": `{"version":1,` + strings.Repeat(" ", 64<<20) + `"entries":[]}`,
		"no members":  `{"version":1,"x":[` + strings.Repeat("0,", 32<<20) + `0]}`,
		"one entry":   `{"version":1,"entries":[` + strings.Repeat(`{"name":"a","type":"dir"},`, 1<<20) + `{}]}`,
	} {
		toc := zstdOf([]byte(document))
		got := memtest.Allocated(func() {
			if _, err := Parse(bytes.NewReader(toc), Footer{PayloadSize: 1000, Compression: Zstd}); err == nil {
				t.Errorf("%s: no error for %d bytes of JSON in %d", name, len(document), len(toc))
			}
		})
		if got > memtest.Floor+4*(textFloor+textRatio*int64(len(toc))) {
			t.Errorf("%s: %d bytes allocated for a TOC of %d", name, got, len(toc))
		}
	}
}

// TestManyLayers has manifests whose shortest descriptors would take much.
func TestManyLayers(t *testing.T) {
	manifest := []byte(`{"layers":[` + strings.Repeat("{},", 2<<20) + `{}]}`)
	got := memtest.Allocated(func() {
		if _, err := ReadClaim(manifest, "sha256:x"); err == nil || !strings.Contains(err.Error(), "layers") {
			t.Error(err)
		}
	})
	if got > 4*int64(len(manifest)) {
		t.Errorf("%d bytes allocated for a manifest of %d", got, len(manifest))
	}
	for _, manifest := range []string{`{"layers":{}}`, `{"layers":"x"}`, `{"layers":[1]}`} {
		if _, err := readLayers([]byte(manifest)); err == nil {
			t.Errorf("%s: no error", manifest)
		}
	}
	for manifest, want := range map[string]int{`{}`: 0, `{"layers":null}`: 0, `{"layers":[]}`: 0, `{"layers":[{},{}]}`: 2, `{"layers":[{},{}],"layers":[{}]}`: 1} {
		if got, err := readLayers([]byte(manifest)); err != nil || len(got) != want {
			t.Errorf("%s: %d layers, %v", manifest, len(got), err)
		}
	}
}
