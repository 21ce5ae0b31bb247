package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// Document is the whole index of a layer, and of which layer: what DecodeDocument returns.
type Document struct {
	Blob     digest.Digest // of the compressed blob
	BlobSize int64         // bytes
	DiffID   digest.Digest // of the uncompressed tar; empty for a ztoc
	*Index
}

// An encoded document is documentMagic, the CRC-32C of all that follows, and
//
//	digests  of blob, tar, TOC, compressed TOC; 32 bytes each, zeros for none
//	numbers  size of the blob, size of the data file, PrefetchSize
//	text     Compression
//	number   of chunks
//	frame    of the columns of the chunks, see columns
//	digests  of the chunks, 32 bytes each
//	frame    of the tree, as in EncodeTree
//	text     the list of points, see inflate.Encoder; empty for other compressions than Points
//
// where a number is as in binary.AppendUvarint, a text is its length and its bytes, and a
// frame is a text that is one frame of zstd.
const (
	documentMagic  = "ladleIX1" // the last byte is the version
	documentHeader = 12
)

// MediaTypeDocument is the media type of an encoded document.
const MediaTypeDocument = "application/vnd.ladle.layer.index.v1"

// ErrDocument is the error of bytes that are no encoded document of this version.
var ErrDocument = errors.New("no index document")

// EncodeDocument returns the encoded form of d: of real layers 1.0 to 1.5 % of the blob. It
// fails for what DecodeDocument refuses, except for trees that it refuses because
// of their memory, and for digests that are not of SHA-256.
func EncodeDocument(d *Document) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("index document: %w", err)
	}
	b := make([]byte, documentHeader, documentHeader+40*len(d.Chunks)+len(d.Points)+1<<10)
	copy(b, documentMagic)
	for _, of := range []digest.Digest{d.Blob, d.DiffID, d.TOCDigest, d.CompressedTOCDigest} {
		sum, err := optionalDigest(of)
		if err != nil {
			return nil, fmt.Errorf("index document: %w", err)
		}
		b = append(b, sum[:]...)
	}
	for _, n := range []int64{d.BlobSize, d.DataSize, d.PrefetchSize} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = appendText(b, []byte(d.Compression))
	b = binary.AppendUvarint(b, uint64(len(d.Chunks)))
	b = appendText(b, compressFrame(encodeColumns(d.Chunks, d.Compression)))
	for i := range d.Chunks {
		b = append(b, d.Chunks[i].Digest[:]...)
	}
	b = appendText(b, compressFrame(encodeBody(d.Root)))
	b = appendText(b, d.Points)
	binary.LittleEndian.PutUint32(b[len(documentMagic):], crc32.Checksum(b[documentHeader:], castagnoli))
	return b, nil
}

// ReadDocument returns the document of the layer blob that b is: one of EncodeDocument, or a ztoc.
func ReadDocument(b []byte, blob digest.Digest) (*Document, error) {
	if !bytes.HasPrefix(b, []byte(documentMagic[:len(documentMagic)-1])) {
		return DecodeZtoc(b, blob)
	}
	d, err := DecodeDocument(b)
	if err == nil && d.Blob != blob {
		err = fmt.Errorf("%w: it is that of %s", ErrDocument, d.Blob)
	}
	return d, err
}

// DecodeDocument returns the document that EncodeDocument has encoded to b. It is what Parse or
// Import could have returned, also if b is hostile; that it is the index of the blob, only its
// chunks' digests tell, when they are read, and that of the tar. It takes memory in proportion
// to b: Memory for the tree, as much for its encoded form, and 256 bytes for each of the
// others; for the points 24 MiB more, for a moment. The error is ErrDocument.
func DecodeDocument(b []byte) (*Document, error) {
	d, err := decodeDocument(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return d, nil
}

func decodeDocument(b []byte) (*Document, error) {
	if len(b) < documentHeader || string(b[:len(documentMagic)]) != documentMagic {
		return nil, errors.New("of another version, or none")
	}
	if crc32.Checksum(b[documentHeader:], castagnoli) != binary.LittleEndian.Uint32(b[len(documentMagic):]) {
		return nil, errors.New("damaged")
	}
	in := fields{rest: string(b[documentHeader:])}
	d := &Document{Index: &Index{}}
	for _, of := range []*digest.Digest{&d.Blob, &d.DiffID, &d.TOCDigest, &d.CompressedTOCDigest} {
		*of = in.digest()
	}
	for _, n := range []*int64{&d.BlobSize, &d.DataSize, &d.PrefetchSize} {
		*n = int64(in.number(maxFile))
	}
	d.Compression = Compression(in.text())
	chunks, err := in.chunks(d.Compression)
	if err != nil {
		return nil, err
	}
	d.Chunks = chunks
	most := Memory(int64(len(b)))
	body, err := decompressFrame(in.text(), min(most, maxTreeSize))
	if err != nil {
		return nil, fmt.Errorf("tree: %w", err)
	}
	if d.Root, err = decodeBody(body, most); err != nil {
		return nil, fmt.Errorf("tree: %w", err)
	}
	if points := in.text(); points != "" {
		d.Points = []byte(points)
	}
	if in.failed || in.rest != "" {
		return nil, errors.New("too short, or too long")
	}
	return d, d.check()
}

// optionalDigest returns the bytes of a digest; zeros if there is none.
func optionalDigest(d digest.Digest) (sum [sha256.Size]byte, err error) {
	if d == "" {
		return sum, nil
	}
	return parseDigest(string(d))
}

// digest reads what optionalDigest has returned.
func (f *fields) digest() digest.Digest {
	sum := f.bytes(sha256.Size)
	if sum == "" || sum == noDigest {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, []byte(sum))
}

var noDigest = string(make([]byte, sha256.Size))

func appendText(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// compressFrame returns p as one frame of zstd.
func compressFrame(p []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithWindowSize(usualWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return w.EncodeAll(p, nil)
}
