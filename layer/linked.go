package layer

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"path"
)

const (
	// maxNames bounds the libraries of a program.
	maxNames = 256

	// maxName is NAME_MAX and a terminating zero byte.
	maxName = 256

	// maxPath is PATH_MAX, the maximum length of the path of an interpreter.
	maxPath = 4096

	// maxSegments bounds the bytes of the program headers; a program with more is
	// ignored. Linkers make some ten headers of 56 bytes each. debug/elf needs seven
	// times as much memory.
	maxSegments = 16 << 10

	// maxDynamic bounds the bytes that are read of a dynamic section. That of a large
	// program has some hundred entries of 16 bytes.
	maxDynamic = 64 << 10
)

// linkedTo returns the file names of the dynamic linker and of the libraries that a
// program needs (elf(5), PT_INTERP and DT_NEEDED); none if it is static, or not a
// program. Like the dynamic linker, it reads only segments: sections are at the end of
// the file, and debug/elf decompresses them, copies a name for each without bound, and
// panics if their number is wrong. The error is that of program.
func linkedTo(program io.ReaderAt) (names []string, err error) {
	defer func() {
		if bad := (*elf.FormatError)(nil); errors.As(err, &bad) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			names, err = nil, nil
		}
	}()
	head := make([]byte, headSize)
	if _, err := program.ReadAt(head, 0); err != nil {
		return nil, err
	}
	if segmentBytes(head) > maxSegments {
		return nil, nil
	}
	f, err := elf.NewFile(&sectionless{program, head})
	if err != nil {
		return nil, err
	}
	for _, p := range f.Progs {
		var more []string
		switch p.Type {
		case elf.PT_INTERP:
			var name string
			if name, err = nameAt(program, p.Off, min(p.Filesz, maxPath)); name != "" {
				more = []string{path.Base(name)}
			}
		case elf.PT_DYNAMIC:
			more, err = needed(program, f, p)
		default:
			continue
		}
		names = append(names, more...)
		if err != nil || len(names) >= maxNames {
			break
		}
	}
	return names[:min(len(names), maxNames)], err
}

// headSize is the size in bytes of the ELF header of a 64-bit program. Every program is
// longer.
const headSize = 64

// segmentBytes returns the size in bytes of the program headers according to the ELF
// header (Elf32_Ehdr and Elf64_Ehdr, e_phentsize times e_phnum).
func segmentBytes(head []byte) int {
	at := 54
	if elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS32 {
		at = 42
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	return int(order.Uint16(head[at:])) * int(order.Uint16(head[at+2:]))
}

// sectionless is a program with the sections removed from its ELF header.
type sectionless struct {
	io.ReaderAt
	head []byte
}

func (s *sectionless) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= headSize {
		return s.ReaderAt.ReadAt(p, off)
	}
	shoff, width, counts := 40, 8, 58 // Elf64_Ehdr: e_shoff; e_shentsize, e_shnum and e_shstrndx
	if elf.Class(s.head[elf.EI_CLASS]) == elf.ELFCLASS32 {
		shoff, width, counts = 32, 4, 46 // Elf32_Ehdr
	}
	n, err := s.ReaderAt.ReadAt(p, off)
	for _, field := range [...]struct{ at, n int }{{shoff, width}, {counts, 6}} {
		from, to := max(field.at-int(off), 0), min(field.at+field.n-int(off), n)
		if from < to {
			clear(p[from:to])
		}
	}
	return n, err
}

// needed returns the names of the libraries in the dynamic section of f.
func needed(program io.ReaderAt, f *elf.File, dynamic *elf.Prog) (names []string, err error) {
	section := make([]byte, min(dynamic.Filesz, maxDynamic))
	if n, err := program.ReadAt(section, int64(dynamic.Off)); err != nil && n < len(section) {
		return nil, err
	}
	var texts, size uint64
	var at []uint64 // of names, in texts
	for len(section) >= entrySize(f) {
		tag, value := entry(f, section)
		section = section[entrySize(f):]
		switch tag {
		case elf.DT_NULL:
			section = nil
		case elf.DT_STRTAB:
			texts = value
		case elf.DT_STRSZ:
			size = value
		case elf.DT_NEEDED:
			at = append(at, value)
		}
	}
	off, ok := fileOffset(f, texts)
	for _, a := range at[:min(len(at), maxNames)] {
		if !ok || a >= size {
			continue
		}
		name, err := nameAt(program, off+a, min(size-a, maxName))
		if err != nil {
			return names, err
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// entrySize is the size in bytes of an entry of a dynamic section.
func entrySize(f *elf.File) int {
	if f.Class == elf.ELFCLASS32 {
		return 8
	}
	return 16
}

// entry decodes the first entry of a dynamic section.
func entry(f *elf.File, section []byte) (tag elf.DynTag, value uint64) {
	if f.Class == elf.ELFCLASS32 {
		return elf.DynTag(f.ByteOrder.Uint32(section)), uint64(f.ByteOrder.Uint32(section[4:]))
	}
	return elf.DynTag(f.ByteOrder.Uint64(section)), f.ByteOrder.Uint64(section[8:])
}

// fileOffset returns the file offset of a virtual address.
func fileOffset(f *elf.File, address uint64) (off uint64, ok bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr <= address && address-p.Vaddr < p.Filesz {
			return p.Off + address - p.Vaddr, true
		}
	}
	return 0, false
}

// nameAt returns the zero-terminated text of fewer than n bytes at off; "" if there is
// none.
func nameAt(program io.ReaderAt, off, n uint64) (string, error) {
	if int64(off) < 0 {
		return "", nil
	}
	p := make([]byte, n)
	got, err := program.ReadAt(p, int64(off))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	text, _, ok := bytes.Cut(p[:got], []byte{0})
	if !ok {
		return "", err
	}
	return string(text), err
}
