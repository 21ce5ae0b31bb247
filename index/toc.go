package index

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/readahead"
	"github.com/opencontainers/go-digest"
)

// Limits of a TOC. A TOC with a million files has about 360 MB of JSON.
const (
	maxTOC     = 128 << 20 // bytes, compressed
	maxTOCJSON = 512 << 20 // bytes, decompressed
	maxEntries = 2 << 20
	maxEntry   = 1 << 20 // bytes of JSON of one entry
)

// The bytes of a TOC's document that can wait to be parsed.
const (
	aheadBlocks = 8
	aheadBlock  = 64 << 10
)

// entry is an entry of a TOC. Its fields are those of estargz.TOCEntry, where
// they are explained, and the two that containers/storage adds.
type entry struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Size        int64             `json:"size"`
	ModTime     string            `json:"modtime"`
	LinkName    string            `json:"linkName"`
	Mode        int64             `json:"mode"`
	UID         int64             `json:"uid"`
	GID         int64             `json:"gid"`
	DevMajor    int64             `json:"devMajor"`
	DevMinor    int64             `json:"devMinor"`
	Xattrs      map[string][]byte `json:"xattrs"`
	entryChunks `json:",inline"`
}

// entryChunks is what an entry says of a file's bytes.
type entryChunks struct {
	Digest      string `json:"digest"`
	Offset      int64  `json:"offset"`
	InnerOffset int64  `json:"innerOffset"`
	ChunkOffset int64  `json:"chunkOffset"`
	ChunkSize   int64  `json:"chunkSize"`
	ChunkDigest string `json:"chunkDigest"`
	// EndOffset, of a regular file, is where its last stream ends.
	EndOffset int64 `json:"endOffset"`
	// ChunkType is "zeros" for a chunk of nothing but zeros, else empty.
	ChunkType string `json:"chunkType"`
}

// readTOC calls add for each entry of the compressed TOC and returns the
// digest of the uncompressed one. add must not keep the entry.
func readTOC(toc *counter, c Compression, memory *budget, add func(*entry) error) (digest.Digest, error) {
	in := bufio.NewReaderSize(toc, 32<<10)
	if err := memory.spend(max(0, c.Memory(in)-usualWindow)); err != nil {
		return "", err
	}
	decompressed, err := c.NewReader(in)
	if err != nil {
		return "", err
	}
	defer decompressed.Close()
	var document io.Reader = &text{r: decompressed, toc: toc}
	if c == Gzip {
		if document, err = openTOCFile(document); err != nil {
			return "", err
		}
	}
	sum := sha256.New()
	// The document is fetched, decompressed and hashed beside the parser, which
	// takes as long as the three together.
	ahead, err := readahead.NewReaderSize(io.TeeReader(document, sum), aheadBlocks, aheadBlock)
	if err != nil {
		return "", err
	}
	err = readEntries(ahead, add)
	if err := errors.Join(err, ahead.Close()); err != nil {
		return "", err
	}
	return digest.NewDigest(digest.SHA256, sum), nil
}

// openTOCFile finds the TOC in the tar in which eStargz has it.
func openTOCFile(archive io.Reader) (io.Reader, error) {
	tr := tar.NewReader(archive)
	h, err := tr.Next()
	if err != nil {
		return nil, fmt.Errorf("tar: %w", unexpected(err))
	}
	if h.Name != estargz.TOCTarName {
		return nil, fmt.Errorf("tar has %q, not %q", h.Name, estargz.TOCTarName)
	}
	return tr, nil
}

// readEntries reads a whole TOC document. It is three times as fast as
// encoding/json and keeps one entry at a time.
func readEntries(document io.Reader, add func(*entry) error) error {
	m := &meter{r: document, limit: maxEntry}
	d := jsontext.NewDecoder(m)
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		switch name.String() {
		case "version":
			err = readVersion(d)
		case "entries":
			err = readEntryList(d, m, add)
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	if err := expect(d, '}'); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

func readVersion(d *jsontext.Decoder) error {
	var version int64
	if err := json.UnmarshalDecode(d, &version); err != nil {
		return err
	}
	if version != 1 {
		return fmt.Errorf("version %d", version)
	}
	return nil
}

func readEntryList(d *jsontext.Decoder, m *meter, add func(*entry) error) error {
	if d.PeekKind() == 'n' { // what Go writes for an empty layer
		return d.SkipValue()
	}
	if err := expect(d, '['); err != nil {
		return err
	}
	var e entry
	for n := 0; d.PeekKind() != ']'; n++ {
		if n == maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		m.limit = min(d.InputOffset()+maxEntry, maxTOCJSON)
		e = entry{}
		if err := json.UnmarshalDecode(d, &e); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		if err := add(&e); err != nil {
			return fmt.Errorf("entry %d, %.300q: %w", n, e.Name, err)
		}
	}
	m.limit = min(d.InputOffset()+maxEntry, maxTOCJSON)
	return expect(d, ']')
}

// expect reads the token that is kind.
func expect(d *jsontext.Decoder, kind jsontext.Kind) error {
	t, err := d.ReadToken()
	if err != nil {
		return unexpected(err)
	}
	if t.Kind() != kind {
		return fmt.Errorf("%s where %s should be", t.Kind(), kind)
	}
	return nil
}

// meter reads up to a limit, which the consumer of the bytes raises as it goes on.
type meter struct {
	r           io.Reader
	read, limit int64 // bytes
}

func (m *meter) Read(p []byte) (int, error) {
	if m.read >= m.limit {
		return 0, errors.New("too large")
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.limit-m.read)])
	m.read += int64(n)
	return n, err
}
