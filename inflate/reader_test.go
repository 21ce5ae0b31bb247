package inflate_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ladle-dev/ladle/inflate"
)

func TestReaderGivesWhatCompressGzipGives(t *testing.T) {
	for name, plain := range samples() {
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			blob := gzipped(t, plain, level)
			got, err := io.ReadAll(inflate.NewReader(bytes.NewReader(blob)))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, level %d: %d bytes, want %d; %v", name, level, len(got), len(plain), err)
			}
			var b bytes.Buffer
			if level%4 != 1 {
				continue
			}
			n, err := inflate.NewReader(iotest.OneByteReader(bytes.NewReader(blob))).WriteTo(&b)
			if err != nil || n != int64(len(plain)) || !bytes.Equal(b.Bytes(), plain) {
				t.Errorf("%s, level %d, byte by byte: %d bytes, want %d; %v", name, level, n, len(plain), err)
			}
		}
	}
}
