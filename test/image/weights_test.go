package image

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// TestBlocks: the file of Weights has no block that a filesystem could store as a hole or
// together with another one, however it is read.
func TestBlocks(t *testing.T) {
	var got bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, io.LimitReader(&blocks{}, 1<<20), make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{string(make([]byte, 4096)): true}
	for block := range slices.Chunk(got.Bytes(), 4096) {
		if seen[string(block)] {
			t.Fatalf("block %d is zeros or was there before", len(seen)-1)
		}
		seen[string(block)] = true
	}
}
