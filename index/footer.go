package index

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
)

// Footer says where a blob's TOC is.
type Footer struct {
	TOCOffset, TOCSize int64 // bytes; TOCOffset is -1 if the TOC is external
	PayloadSize        int64 // bytes of the blob before anything that is not payload
	Compression        Compression
}

// TailSize is how many bytes of a blob's end ParseFooter needs at least.
const TailSize = 128

// ParseFooter finds the footer in tail, the last bytes of a blob of size
// bytes. It returns ErrNoTOC if there is none of a known format.
func ParseFooter(tail []byte, size int64) (Footer, error) {
	if int64(len(tail)) > size {
		return Footer{}, fmt.Errorf("footer: a tail of %d bytes of a blob of %d", len(tail), size)
	}
	f, err := findFooter(tail, size)
	if err != nil {
		return Footer{}, fmt.Errorf("footer: %w", err)
	}
	if err := f.check(size); err != nil {
		return Footer{}, fmt.Errorf("footer: %w", err)
	}
	return f, nil
}

func findFooter(tail []byte, size int64) (Footer, error) {
	for _, form := range gzipForms {
		if f, ok := form.parse(tail, size); ok {
			return f, nil
		}
	}
	for _, n := range []int{zstdchunked.FooterSize, chunkedFooterSize} {
		if p, ok := chunkedFooter(tail, n); ok {
			return parseChunkedFooter(p, size-int64(n)-skippableHeader)
		}
	}
	return Footer{}, ErrNoTOC
}

// check makes sure that payload and TOC lie in a blob of size bytes, one
// before the other.
func (f Footer) check(size int64) error {
	if f.PayloadSize < 0 || f.PayloadSize > size {
		return fmt.Errorf("payload of %d bytes in a blob of %d", f.PayloadSize, size)
	}
	if f.TOCOffset == -1 {
		return nil
	}
	if f.TOCOffset < f.PayloadSize || f.TOCSize <= 0 || f.TOCSize > size-f.TOCOffset {
		return fmt.Errorf("table of contents of %d bytes at %d in a blob of %d", f.TOCSize, f.TOCOffset, size)
	}
	if f.TOCSize > maxTOC {
		return fmt.Errorf("table of contents of %d bytes, of at most %d", f.TOCSize, maxTOC)
	}
	return nil
}

// gzipForm is one of the footers that are an empty gzip stream with an extra
// field (RFC 1952, section 2.3.1): eStargz, its predecessor stargz, and
// eStargz with an external TOC.
type gzipForm struct {
	estargz.Decompressor
}

var gzipForms = []gzipForm{
	{new(estargz.GzipDecompressor)},
	{externaltoc.NewGzipDecompressor(nil)},
	{new(estargz.LegacyGzipDecompressor)},
}

// gzipExtra is the set of flags that announces an extra field and nothing else
// (RFC 1952, section 2.3.1).
const gzipExtra = 1 << 2

// gzipAround is how many bytes of such a stream are not in its extra field:
// header 10, length of the field 2, an empty deflate block 5, trailer 8.
const gzipAround = 25

func (g gzipForm) parse(tail []byte, size int64) (Footer, bool) {
	n := int(g.FooterSize())
	if len(tail) < n {
		return Footer{}, false
	}
	p := tail[len(tail)-n:]
	// The parsers of package estargz index the extra field before they check its
	// length, which may be zero.
	if p[3] != gzipExtra || int(binary.LittleEndian.Uint16(p[10:])) != n-gzipAround {
		return Footer{}, false
	}
	payload, offset, _, err := g.ParseFooter(p)
	if err != nil {
		return Footer{}, false
	}
	end := size - int64(n)
	f := Footer{TOCOffset: offset, TOCSize: end - offset, PayloadSize: payload, Compression: Gzip}
	if _, external := g.Decompressor.(*externaltoc.GzipDecompressor); external {
		f.TOCOffset, f.TOCSize, f.PayloadSize = -1, 0, end
	}
	return f, true
}

const (
	skippableHeader = 8 // bytes: magic, length (RFC 8878, section 3.1.2)

	// chunkedFooterSize is the size in bytes of the footer that
	// containers/storage writes since it adds the position of tar-split data
	// (pkg/chunked/internal/minimal, ZstdChunkedFooterData). That of
	// stargz-snapshotter, and of older versions, has 40 bytes.
	chunkedFooterSize = 64

	manifestTypeCRFS = 1 // the one type of TOC that there is
)

// skippableMagic starts a zstd frame that decoders skip.
var skippableMagic = []byte{0x50, 0x2a, 0x4d, 0x18}

// chunkedMagics end a zstd:chunked footer: "GNUlInUx" is that of
// containers/storage, "GnUlInUx" that of stargz-snapshotter.
var chunkedMagics = [][]byte{[]byte("GNUlInUx"), []byte("GnUlInUx")}

// chunkedFooter returns the last n bytes of tail if they are all of a
// skippable frame and end as a footer does.
func chunkedFooter(tail []byte, n int) ([]byte, bool) {
	if len(tail) < n+skippableHeader {
		return nil, false
	}
	p := tail[len(tail)-n:]
	header := tail[len(tail)-n-skippableHeader:]
	if !bytes.HasPrefix(header, skippableMagic) || binary.LittleEndian.Uint32(header[4:]) != uint32(n) {
		return nil, false
	}
	for _, magic := range chunkedMagics {
		if bytes.HasSuffix(p, magic) {
			return p, true
		}
	}
	return nil, false
}

// parseChunkedFooter reads a footer of little-endian numbers of 64 bits:
// offset, compressed and uncompressed length, and type of the TOC; in the long
// form then offset and lengths of the tar-split data. end is where the frame
// of the footer starts in the blob.
func parseChunkedFooter(p []byte, end int64) (Footer, error) {
	number := func(i int) int64 { return int64(binary.LittleEndian.Uint64(p[8*i:])) }
	if kind := number(3); kind != manifestTypeCRFS {
		return Footer{}, fmt.Errorf("table of contents of type %d", kind)
	}
	f := Footer{TOCOffset: number(0), TOCSize: number(1), Compression: Zstd}
	if f.TOCOffset < skippableHeader || f.TOCOffset > end || f.TOCSize > end-f.TOCOffset {
		return Footer{}, fmt.Errorf("table of contents of %d bytes at %d", f.TOCSize, f.TOCOffset)
	}
	f.PayloadSize = f.TOCOffset - skippableHeader
	if len(p) == chunkedFooterSize {
		if split := number(4) - skippableHeader; split >= 0 {
			f.PayloadSize = min(f.PayloadSize, split)
		}
	}
	return f, nil
}
