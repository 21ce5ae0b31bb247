package index

import (
	"context"
	"flag"
	"os"
	"testing"
)

// BenchmarkDocument encodes and decodes the document of a real layer without a table of
// contents:
//
//	go test ./index -run '^$' -bench Document -blob FILE
//
// It says which part of the blob the document is, and how much of that its parts are, in %.
func BenchmarkDocument(b *testing.B) {
	if *blobFile == "" {
		b.Skip("without -blob FILE")
	}
	f, err := os.Open(*blobFile)
	if err != nil {
		b.Fatal(err)
	}
	x, err := Import(context.Background(), f, nowhere{})
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(*blobFile)
	if err != nil {
		b.Fatal(err)
	}
	d := &Document{Blob: x.Blob, BlobSize: info.Size(), DiffID: x.DiffID, Index: x.Index}
	var encoded []byte
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			if encoded, err = EncodeDocument(d); err != nil {
				b.Fatal(err)
			}
		}
		for name, size := range map[string]int{
			"%": len(encoded), "%points": len(d.Points), "%digests": 32 * len(d.Chunks),
			"%columns": len(compressFrame(encodeColumns(d.Chunks, d.Compression))), "%tree": len(compressFrame(encodeBody(d.Root))),
		} {
			b.ReportMetric(100*float64(size)/float64(info.Size()), name)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeDocument(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// nowhere is a data file whose bytes are of no use.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

var blobFile = flag.String("blob", "", "a gzip layer, for BenchmarkDocument")
