package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// How the chunks of a layer without a table of contents are found in its blob.
const (
	// Plain is no compression: the stream of a chunk is the chunk.
	Plain Compression = "plain"
	// Whole is said of a layer with chunks that lie in no one stream: parts of a sparse
	// file are not in one piece in the tar. Such chunks come out of an Import of the
	// whole blob, and cannot be fetched one by one.
	Whole Compression = "whole"
)

// compressionOf returns how the blob at which r stands is compressed, by its first bytes,
// as containerd does (containerd v2.4.2, pkg/archive/compression).
func compressionOf(r *bufio.Reader) Compression {
	start, _ := r.Peek(4) // who reads on is told what is wrong
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b, 0x08}):
		return Gzip
	case bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(start) == 4 && start[0]&0xf0 == 0x50 && bytes.Equal(start[1:], []byte{0x2a, 0x4d, 0x18}):
		return Zstd // a frame, or a skippable one (RFC 8878, sections 3.1.1 and 3.1.2)
	}
	return Plain
}

// place is where bytes of a tar are in the blob: in the stream that starts at blob, which
// has the bytes of the tar from inner on.
type place struct{ blob, inner int64 }

// unpacker reads the uncompressed bytes of a whole blob: a tar that is compressed as one
// or more members of gzip (RFC 1952, section 2.2), as frames of zstd, or not at all.
type unpacker struct {
	source      *counter // the blob
	in          *bufio.Reader
	compression Compression
	stream      io.ReadCloser // the current one; nil: none
	at          place         // of the current stream
	read        int64         // bytes of the tar
}

func newUnpacker(blob *counter) *unpacker {
	in := bufio.NewReaderSize(blob, 64<<10)
	return &unpacker{source: blob, in: in, compression: compressionOf(in)}
}

// next fills p with bytes of one stream, whose place is u.at then: with as many as p has
// room for, or up to the end of the stream. After the last one it returns io.EOF.
func (u *unpacker) next(p []byte) (n int, err error) {
	for n < len(p) {
		if u.stream == nil {
			if n > 0 {
				return n, nil
			}
			if err := u.open(); err != nil {
				return 0, err
			}
		}
		m, err := u.stream.Read(p[n:])
		n += m
		u.read += int64(m)
		if errors.Is(err, io.EOF) {
			u.close()
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// open opens the next stream; it returns io.EOF at the end of the blob.
func (u *unpacker) open() error {
	if _, err := u.in.Peek(1); err != nil {
		return err
	}
	u.at = place{u.source.n.Load() - int64(u.in.Buffered()), u.read}
	var err error
	if u.stream, err = u.compression.NewReader(u.in); err != nil {
		u.stream = nil
		return fmt.Errorf("at %d of the blob: %w", u.at.blob, err)
	}
	return nil
}

func (u *unpacker) close() {
	if u.stream != nil {
		u.stream.Close()
		u.stream = nil
	}
}
