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
	// Members is gzip with several members, of which a stream has one or more.
	Members Compression = "members"
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

// memberAt is where a member of a gzip blob begins, in bytes.
type memberAt struct{ blob, tar int64 }

// minMember is how many bytes of the tar are between two members that are noted: resuming
// at each of many small ones is of no use.
const minMember = 32 << 10

// unpacker reads the uncompressed bytes of a whole blob: a tar that is compressed as one
// or more members of gzip (RFC 1952, section 2.2), as frames of zstd, or not at all.
type unpacker struct {
	source      *counter // the blob
	in          *bufio.Reader
	compression Compression
	stream      io.ReadCloser // the current one; nil: none
	read        int64         // bytes of the tar
	members     []memberAt    // noted ones; of what is not gzip, its beginning
	several     bool          // there are more of them
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
		u.read += int64(n)
		if errors.Is(err, io.EOF) {
			u.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// open opens the next stream; it returns io.EOF at the end of the blob.
func (u *unpacker) open() error {
	if _, err := u.in.Peek(1); err != nil {
		return err
	}
	m := memberAt{u.source.n.Load() - int64(u.in.Buffered()), u.read}
	var err error
	if u.stream, err = u.compression.NewReader(u.in); err != nil {
		u.stream = nil
		return fmt.Errorf("at %d of the blob: %w", m.blob, err)
	}
	u.several = len(u.members) > 0
	if !u.several || m.tar-u.members[len(u.members)-1].tar >= minMember {
		u.members = append(u.members, m)
	}
	return nil
}

func (u *unpacker) close() {
	if u.stream != nil {
		u.stream.Close()
		u.stream = nil
	}
}
