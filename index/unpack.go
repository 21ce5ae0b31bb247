package index

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/ladle-dev/ladle/inflate"
)

// How the chunks of a layer without a table of contents are found in its blob.
const (
	// Plain is no compression: the stream of a chunk is the chunk.
	Plain Compression = "plain"
	// Points is gzip with points: a stream begins at one (see package inflate) and ends
	// where another one does.
	Points Compression = "points"
	// Whole is said of a layer with sparse files that an earlier version imported: their
	// chunks are not in one piece in the tar, and cannot be fetched one by one.
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

// beginning is where a stream begins, in bytes.
type beginning struct{ blob, tar int64 }

// unpacker reads the uncompressed bytes of a whole blob: a tar that is compressed as one
// or more members of gzip (RFC 1952, section 2.2), as frames of zstd, or not at all.
type unpacker struct {
	source      *counter // the blob
	in          *bufio.Reader
	compression Compression
	stream      io.ReadCloser   // the decompressed bytes; nil before the first read, and at the end
	out         int64           // bytes of the tar that were read
	begins      []beginning     // of streams, as far as read
	points      inflate.Encoder // for gzip: a point for each of begins
}

func newUnpacker(blob *counter) *unpacker {
	in := bufio.NewReaderSize(blob, 64<<10)
	return &unpacker{source: blob, in: in, compression: compressionOf(in)}
}

// Read implements io.Reader.
func (u *unpacker) Read(p []byte) (int, error) {
	for {
		if u.stream == nil {
			if err := u.open(); err != nil {
				return 0, err
			}
		}
		n, err := u.stream.Read(p)
		u.out += int64(n)
		if errors.Is(err, io.EOF) {
			u.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// open opens the stream at which u stands; it returns io.EOF at the end of the blob.
func (u *unpacker) open() error {
	if u.compression == Zstd {
		return u.openFrame()
	}
	if _, err := u.in.Peek(1); err != nil {
		return err
	}
	if u.compression == Gzip {
		z := inflate.NewReader(u.in)
		z.OnPoint(pointSpacing, u.addPoint)
		z.OnPlace(u.addPlace)
		u.stream = io.NopCloser(z)
		return nil
	}
	u.begins = []beginning{{0, 0}}
	var err error
	u.stream, err = u.compression.NewReader(u.in)
	return err
}

func (u *unpacker) close() {
	if u.stream != nil {
		u.stream.Close()
		u.stream = nil
	}
}
