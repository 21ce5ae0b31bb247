package index

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// manyFiles returns the TOC document of a layer with n files, ten to a
// directory.
func manyFiles(b *testing.B, n int) []byte {
	toc := estargz.JTOC{Version: 1}
	for i := range n {
		name := fmt.Sprintf("usr/lib/python3/dist-packages/package%d/", i/10)
		if i%10 == 0 {
			toc.Entries = append(toc.Entries, &estargz.TOCEntry{Name: name, Type: "dir", Mode: 0o755, ModTime3339: "2024-03-01T12:00:00Z"})
		}
		sum := digest.FromString(fmt.Sprint(i)).String()
		toc.Entries = append(toc.Entries, &estargz.TOCEntry{
			Name: name + fmt.Sprintf("file%d.py", i), Type: "reg", Size: 5000, Mode: 0o644, ModTime3339: "2024-03-01T12:00:00Z",
			Offset: 100 + int64(i)*2000, Digest: sum, ChunkDigest: sum,
		})
	}
	document, err := json.MarshalIndent(toc, "", "\t")
	if err != nil {
		b.Fatal(err)
	}
	return document
}

const benchFiles = 40_000

func benchFooter(c Compression) Footer {
	return Footer{PayloadSize: 100 + benchFiles*2000, Compression: c}
}

func BenchmarkParseGzip(b *testing.B) { benchParse(b, Gzip, packTOC(b, manyFiles(b, benchFiles))) }

func BenchmarkParseZstd(b *testing.B) {
	w, _ := zstd.NewWriter(nil)
	benchParse(b, Zstd, w.EncodeAll(manyFiles(b, benchFiles), nil))
}

func benchParse(b *testing.B, c Compression, toc []byte) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(bytes.NewReader(toc), benchFooter(c)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncoded(b *testing.B) {
	index, err := Parse(bytes.NewReader(packTOC(b, manyFiles(b, benchFiles))), benchFooter(Gzip))
	if err != nil {
		b.Fatal(err)
	}
	entries, table := EncodeTree(index.Root), EncodeTable(index)
	b.Run("EncodeTree", func(b *testing.B) {
		b.ReportMetric(float64(len(entries)), "bytes")
		for b.Loop() {
			EncodeTree(index.Root)
		}
	})
	b.Run("DecodeTree", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeTree(entries); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("DecodeTable", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeTable(table); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStream reads chunks of 4 KiB, where the pools matter most.
func BenchmarkStream(b *testing.B) {
	for _, form := range []form{forms[0], forms[3]} {
		b.Run(form.name, func(b *testing.B) {
			made := form.compress(b, tarOf(b, []member{{tar.Header{Typeflag: tar.TypeReg, Name: "f"}, make([]byte, 40_000)}}))
			index, _ := made.mustOpen(b)
			table := tableOf(b, index)
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range index.Chunks {
					if _, err := readChunk(made, table, c); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
