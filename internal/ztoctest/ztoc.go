package ztoctest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ladle-dev/ladle/inflate"
)

// Ztoc is what a ztoc says.
type Ztoc struct {
	Version           string
	Algorithm         byte // 1: gzip
	BlobSize, TarSize int64
	Entries           []Entry
	Spans             []Span
}

// Entry is a member of the tar.
type Entry struct {
	Name, Type, Link string
	Offset, Size     int64 // of its contents, in the tar
	Mode             int64
	UID, GID         uint32
	ModTime          string
	Major, Minor     int64
	Records          map[string]string
}

// Span is where a span begins, and what its bytes of the blob are.
type Span struct {
	In, Out int64
	Bits    byte
	Window  []byte // the 32 KiB of the tar before it; zeros where there are none
	Digest  string
}

const window = 32 << 10

var types = map[byte]string{
	tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink", tar.TypeDir: "dir", tar.TypeReg: "reg",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo",
}

// Of returns the ztoc of a blob, with spans of at least size bytes of the tar.
func Of(blob []byte, size int64) (*Ztoc, error) {
	z := &Ztoc{Version: "0.9", Algorithm: 1, BlobSize: int64(len(blob))}
	in := inflate.NewReader(bytes.NewReader(blob))
	in.OnPoint(size, func(inflate.Point) error { return nil })
	in.OnPlace(func(p inflate.Place) {
		if p.Header {
			p.In += headerSize(blob[p.In:])
		}
		z.Spans = append(z.Spans, Span{In: p.In, Out: p.Out, Bits: p.Bits})
	})
	tarball, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	z.TarSize = int64(len(tarball))
	for i := range z.Spans {
		s := &z.Spans[i]
		s.Window = make([]byte, window)
		before := tarball[max(0, s.Out-window):s.Out]
		copy(s.Window[window-len(before):], before)
		from, to := s.In, z.BlobSize
		if s.Bits > 0 {
			from--
		}
		if i+1 < len(z.Spans) {
			to = z.Spans[i+1].In
		}
		s.Digest = fmt.Sprintf("sha256:%x", sha256.Sum256(blob[from:to]))
	}
	return z, z.addEntries(tarball)
}

// headerSize returns the size of the header of a gzip member that has no extra field (RFC 1952).
func headerSize(member []byte) int64 {
	n := 10
	for _, text := range []byte{1 << 3, 1 << 4} { // FNAME, FCOMMENT
		if member[3]&text != 0 {
			n += bytes.IndexByte(member[n:], 0) + 1
		}
	}
	return int64(n)
}

func (z *Ztoc) addEntries(tarball []byte) error {
	in := bytes.NewReader(tarball)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		z.Entries = append(z.Entries, Entry{
			Name: h.Name, Type: types[h.Typeflag], Link: h.Linkname, Offset: int64(len(tarball) - in.Len()), Size: h.Size,
			Mode: h.Mode, UID: uint32(h.Uid), GID: uint32(h.Gid), ModTime: h.ModTime.Format(time.RFC3339Nano),
			Major: h.Devmajor, Minor: h.Devminor, Records: h.PAXRecords,
		})
	}
}

// Encode returns the ztoc as a FlatBuffer.
func (z *Ztoc) Encode() []byte {
	checkpoints := binary.LittleEndian.AppendUint32(nil, uint32(len(z.Spans)))
	checkpoints = binary.LittleEndian.AppendUint64(checkpoints, 4<<20)
	var digests, entries []any
	for _, s := range z.Spans {
		checkpoints = binary.LittleEndian.AppendUint64(checkpoints, uint64(s.In))
		checkpoints = binary.LittleEndian.AppendUint64(checkpoints, uint64(s.Out))
		checkpoints = append(append(checkpoints, s.Bits), s.Window...)
		digests = append(digests, s.Digest)
	}
	for _, e := range z.Entries {
		var records []any
		for key, value := range e.Records {
			records = append(records, table{key, value})
		}
		entries = append(entries, table{
			e.Name, e.Type, e.Offset, e.Size, e.Link, e.Mode, e.UID, e.GID, "", "", e.ModTime, e.Major, e.Minor, records,
		})
	}
	w := &writer{b: make([]byte, 8)}
	w.refer(0, table{
		z.Version, "ztoctest", z.BlobSize, z.TarSize, table{entries},
		table{z.Algorithm, uint32(len(z.Spans) - 1), digests, string(checkpoints)},
	})
	return w.b
}
