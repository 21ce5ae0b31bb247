package layer_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// program is an ELF file that names a dynamic linker and libraries, padded with
// noise to size bytes.
func program(t testing.TB, size int, interpreter string, libraries ...string) []byte {
	t.Helper()
	const header, segment, segments = 64, 56, 3
	names := []byte{0}
	var needed []uint64
	for _, l := range libraries {
		needed = append(needed, uint64(elf.DT_NEEDED), uint64(len(names)))
		names = append(append(names, l...), 0)
	}
	interpOff := uint64(header + segment*segments)
	interpLen := uint64(len(interpreter) + 1)
	namesOff := interpOff + interpLen
	dynOff := namesOff + uint64(len(names))
	const base = 0x400000 // where it is loaded
	dynamic := append(needed, uint64(elf.DT_STRTAB), base+namesOff, uint64(elf.DT_STRSZ), uint64(len(names)), uint64(elf.DT_NULL), 0)
	dynLen := uint64(8 * len(dynamic))
	size = max(size, int(dynOff+dynLen))
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1,
		Phoff: header, Ehsize: header, Phentsize: segment, Phnum: segments,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	for _, v := range []any{
		h,
		[segments]elf.Prog64{
			{Type: uint32(elf.PT_INTERP), Off: interpOff, Vaddr: base + interpOff, Filesz: interpLen, Memsz: interpLen},
			{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: uint64(size), Memsz: uint64(size)},
			{Type: uint32(elf.PT_DYNAMIC), Off: dynOff, Vaddr: base + dynOff, Filesz: dynLen, Memsz: dynLen},
		},
		append([]byte(interpreter), 0),
		names,
		dynamic,
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	b.Write(someFiles(uint64(size), 0)[0].data[:size-b.Len()])
	return b.Bytes()
}

// withSections adds a table of n sections to a program with a section count of zero in
// its header, so that the table has the number. All sections have the same name, which is
// as long as the table.
func withSections(program []byte, n int, names uint16) []byte {
	p := slices.Clone(program)
	binary.LittleEndian.PutUint64(p[40:], uint64(len(p)))
	binary.LittleEndian.PutUint16(p[58:], 64)
	binary.LittleEndian.PutUint16(p[62:], names)
	at := len(p)
	p = append(p, bytes.Repeat([]byte{'x'}, 2*64*n)...)
	clear(p[at:][:64*n])
	p[len(p)-1] = 0
	binary.LittleEndian.PutUint64(p[at+32:], uint64(n)) // sh_size of the first
	text := p[at+64*int(min(int(names), n-1)):]
	binary.LittleEndian.PutUint32(text[4:], uint32(elf.SHT_STRTAB))
	binary.LittleEndian.PutUint64(text[24:], uint64(at+64*n))
	binary.LittleEndian.PutUint64(text[32:], uint64(64*n))
	return p
}

// The sections of a program are nothing to the dynamic linker, and nothing is
// made of them: tens of thousands with one long name would take all memory, and
// a false number for that with the names is an index out of range in debug/elf.
func TestSectionsAreNotRead(t *testing.T) {
	good := program(t, 1000, "/lib/ld-test.so.1", "liba.so.1")
	for _, names := range []uint16{1, 0xfff0} {
		p := bytes.NewReader(withSections(good, 0xff00, names))
		before := new(runtime.MemStats)
		runtime.ReadMemStats(before)
		linked, err := layer.LinkedTo(p)
		after := new(runtime.MemStats)
		runtime.ReadMemStats(after)
		if err != nil || !slices.Equal(linked, []string{"ld-test.so.1", "liba.so.1"}) {
			t.Errorf("linked to %q, %v", linked, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%d bytes allocated", n)
		}
	}
}

// apart puts a large file before each of files, so that none of them comes
// along with another.
func apart(files ...file) (all []file) {
	for i, f := range files {
		noise := someFiles(uint64(i), 0)[0]
		noise.name = fmt.Sprintf("%d.noise", i)
		all = append(all, noise, f)
	}
	return all
}

// twoLayers is a bench of an image with a second layer of the files above.
func twoLayers(t *testing.T, files, above []file, opts layer.Options) (b *bench, lower, upper *layer.Layer) {
	t.Helper()
	b = newBench(t, registrytest.Options{}, files)
	b.restart(t, opts)
	lower = b.open(t)
	blob, toc := convert(t, above)
	b.req.Source.Digest, b.req.TOC = b.AddBlob(blob), toc
	return b, lower, b.open(t)
}

// Who reads the head of a program has its libraries fetched, and theirs,
// wherever in the image they are, and little else.
func TestLibrariesAreFetchedAhead(t *testing.T) {
	// It comes as a whole with its head, whatever the link is taken to be like.
	tool := file{name: "bin/tool", data: program(t, 150_000, "/lib/ld-test.so.1", "liba.so.1", "libmissing.so")}
	liba := file{name: "usr/lib/liba.so.1.2", data: program(t, 200_000, "", "libb.so.2", "liba.so.1")}
	linker := file{name: "lib/ld-test.so.1", data: program(t, 100_000, "")}
	libb := file{name: "usr/lib/libb.so.2", data: program(t, 400_000, "/lib/ld-test.so.1")}
	lowerFiles := append(apart(tool, linker, liba), file{name: "usr/lib/liba.so.1", link: "liba.so.1.2"})
	upperFiles := apart(file{name: "opt/far/away/libb.so.2", data: program(t, 300_000, "")}, libb)
	b, lower, upper := twoLayers(t, lowerFiles, upperFiles, layer.Options{NoFill: true})

	readAll(t, lower, extents(t, lower)["bin/tool"], 64)
	waitFor(t, func() bool { return b.Count() == 6 }) // two indexes, the program, three libraries
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 500}))
	for _, f := range []file{tool, linker, liba} {
		if got := readAll(t, lower, extents(t, lower)[f.name], len(f.data)); !bytes.Equal(got, f.data) {
			t.Errorf("%s: wrong bytes", f.name)
		}
	}
	if got := readAll(t, upper, extents(t, upper)[libb.name], len(libb.data)); !bytes.Equal(got, libb.data) {
		t.Errorf("%s: wrong bytes", libb.name)
	}
	b.stop(t)
	if n := b.Count(); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

func TestLibrariesAreNotFetchedAhead(t *testing.T) {
	tool := file{name: "bin/tool", data: program(t, 1000, "/lib/ld-test.so.1", "liba.so")}
	files := apart(tool, file{name: "lib/liba.so", data: program(t, 1000, "")})
	b := newBench(t, registrytest.Options{}, files) // which prefetches nothing
	l := b.open(t)
	readAll(t, l, extents(t, l)["bin/tool"], 64)
	b.stop(t)
	if n := b.Count(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// What nearly every container reads first is there before it is read, but not
// before a container is about to start.
func TestFirstFilesAreFetchedAhead(t *testing.T) {
	passwd := file{name: "etc/passwd", data: []byte("root:x:0:0::/:/bin/sh\n")}
	shell := file{name: "usr/bin/dash", data: program(t, 100_000, "/lib64/ld-test.so.1")}
	linker := file{name: "usr/lib/ld-test.so.1", data: program(t, 100_000, "")}
	files := append(apart(passwd, shell, linker), file{name: "usr/bin/sh", link: "/usr/bin/dash"})
	b := newBench(t, registrytest.Options{}, files)
	b.set.Starting([]store.ID{b.open(t).ID()}) // of a set that prefetches nothing
	b.restart(t, layer.Options{NoFill: true})
	l := b.open(t)
	for range 4 { // containers at once
		b.set.Starting([]store.ID{l.ID()})
	}
	waitFor(t, func() bool { return b.Count() == 4 }) // the index, and these
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 500}))
	for _, f := range []file{passwd, shell, linker} {
		if got := readAll(t, l, extents(t, l)[f.name], len(f.data)); !bytes.Equal(got, f.data) {
			t.Errorf("%s: wrong bytes", f.name)
		}
	}
}

// A program that is none, or lies about itself, is read like any other file.
func TestHostilePrograms(t *testing.T) {
	good := program(t, 5000, "/lib/ld-test.so.1", "liba.so")
	const segment, segments = 56, 64
	broken := func(at int, with ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], with)
		return b
	}
	huge := bytes.Repeat([]byte{0x7f}, 8)
	files := []file{
		{name: "truncated", data: good[:100]},
		{name: "only magic", data: []byte(elf.ELFMAG)},
		{name: "class", data: broken(int(elf.EI_CLASS), 9)},
		{name: "segments elsewhere", data: broken(32, huge...)},
		{name: "65535 segments", data: broken(56, 0xff, 0xff)},
		{name: "sections elsewhere", data: broken(40, huge...)},
		{name: "65535 sections", data: broken(60, 0xff, 0xff)},
		{name: "interpreter elsewhere", data: broken(segments+8, huge...)},
		{name: "huge interpreter", data: broken(segments+32, huge...)},
		{name: "loaded elsewhere", data: broken(segments+segment+8, huge...)},
		{name: "dynamic section elsewhere", data: broken(segments+2*segment+8, huge...)},
		{name: "huge dynamic section", data: broken(segments+2*segment+32, huge...)},
		{name: "itself.so", data: program(t, 2000, "/itself.so", "itself.so", "itself.so")},
		{name: "many", data: program(t, 3<<20, "/x", strings.Split(strings.Repeat("liba.so ", 100_000), " ")...)},
		{name: "liba.so", data: good},
	}
	b := newBench(t, registrytest.Options{}, files)
	b.restart(t, layer.Options{NoFill: true, ReadTimeout: patient})
	b.checkAll(t, b.open(t))
	b.stop(t)
}

// A program of megabytes that is all segments names no libraries, and is not read.
func TestManySegments(t *testing.T) {
	p := append(program(t, 1000, "/lib/ld-test.so.1", "liba.so.1")[:64], make([]byte, 4<<20)...)
	binary.LittleEndian.PutUint64(p[32:], 64)      // e_phoff
	binary.LittleEndian.PutUint16(p[56:], 1<<16-1) // e_phnum
	memtest.BoundSmall(t, 0, 0, func() {
		if names, err := layer.LinkedTo(bytes.NewReader(p)); len(names) > 0 || err != nil {
			t.Errorf("it is linked to %q, %v", names, err)
		}
	})
}

// FuzzLinkedTo: whatever a file says, looking for names in it ends, and reads
// no more than it may.
func FuzzLinkedTo(f *testing.F) {
	good := program(f, 1000, "/lib/ld-test.so.1", "liba.so.1", "libb.so.2")
	if names, err := layer.LinkedTo(bytes.NewReader(good)); err != nil || !slices.Equal(names, []string{"ld-test.so.1", "liba.so.1", "libb.so.2"}) {
		f.Fatalf("a good program is linked to %q, %v", names, err)
	}
	f.Add(good)
	f.Add(good[:200])
	f.Add([]byte("\x7fELF\x02\x01\x010000000000000\x01000000000000000000000000000000000010\x00000000")) // few segments with headers of kilobytes
	f.Fuzz(func(t *testing.T, p []byte) {
		var names []string
		var err error
		memtest.BoundSmall(t, min(len(p), 64<<10), 64, func() { names, err = layer.LinkedTo(bytes.NewReader(p)) })
		if err == nil && len(names) > layer.MaxNames {
			t.Errorf("%d names", len(names))
		}
	})
}
