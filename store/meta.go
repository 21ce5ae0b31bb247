package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// layerMeta is the meta.json of a layer.
type layerMeta struct {
	Version  int           `json:"version"`
	Blob     digest.Digest `json:"blob"`
	TOC      digest.Digest `json:"toc"`
	DiffID   digest.Digest `json:"diffID,omitempty"`
	BlobSize int64         `json:"blobSize,omitempty"` // bytes
	DataSize int64         `json:"dataSize"`           // bytes
	NChunks  int           `json:"nChunks"`
	Chunks   fileMeta      `json:"chunks"`
	Entries  fileMeta      `json:"entries"`
	Sources  []string      `json:"sources,omitempty"` // newest first
	Proof    *Proof        `json:"proof,omitempty"`   // nil: nothing was found out
}

// treeMeta is the meta.json of a tree image.
type treeMeta struct {
	Version int      `json:"version"`
	Kind    Kind     `json:"kind"`
	Layers  []ID     `json:"layers"`          // lowest first
	Lower   []ID     `json:"lower,omitempty"` // lowest first
	Parts   []Part   `json:"parts,omitempty"`
	Again   int      `json:"again,omitempty"`
	Image   fileMeta `json:"image"`
	// Inodes is nil in an image that is outdated: see Options.Outdated.
	Inodes *inodeRange `json:"inodes,omitempty"`
}

func newTreeMeta(spec Spec, image fileMeta, inodes inodeRange) treeMeta {
	return treeMeta{formatVersion, spec.Kind, spec.Layers, spec.Lower, spec.Parts, spec.Again, image, &inodes}
}

func (m treeMeta) spec() Spec { return Spec{m.Kind, m.Layers, m.Lower, m.Parts, m.Again} }

// fileMeta is what a file has to be.
type fileMeta struct {
	Size   int64  `json:"size"`   // bytes
	CRC32C uint32 `json:"crc32c"` // as checksum or sparseChecksum gives it
}

func metaOf(content []byte) fileMeta {
	return fileMeta{int64(len(content)), checksum(content)}
}

// check returns errDamaged unless content is that of the file.
func (m fileMeta) check(name string, content []byte) error {
	if got := metaOf(content); got != m {
		return fmt.Errorf("%s: %w: %+v, want %+v", name, errDamaged, got, m)
	}
	return nil
}

// sealed is the form of every meta.json: its checksum is over the bytes of
// Meta as they stand in the file.
type sealed struct {
	CRC32C uint32          `json:"crc32c"`
	Meta   json.RawMessage `json:"meta"`
}

func encodeMeta(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{checksum(b), b})
}

// readMeta decodes the meta.json in dir into v. It returns errDamaged if the
// file is not what encodeMeta made, and ErrLaterFormat if that was of a later version.
func readMeta(dir string, v any) error {
	path := filepath.Join(dir, metaFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s sealed
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s: %w: %w", metaFile, errDamaged, err)
	}
	if checksum(s.Meta) != s.CRC32C {
		return fmt.Errorf("%s: %w: bad checksum", metaFile, errDamaged)
	}
	var of struct{ Version int } // what else a later version has there need not be of the types of v
	if err := json.Unmarshal(s.Meta, &of); err != nil {
		return fmt.Errorf("%s: %w: %w", metaFile, errDamaged, err)
	}
	if err := checkVersion(of.Version); err != nil {
		return err
	}
	if err := json.Unmarshal(s.Meta, v); err != nil {
		return fmt.Errorf("%s: %w: %w", metaFile, errDamaged, err)
	}
	return nil
}
