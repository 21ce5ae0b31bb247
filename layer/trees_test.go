package layer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// Trees that were made lately are kept up to so many bytes, the last one always.
func TestTreesKept(t *testing.T) {
	trees := newTrees()
	defer trees.purge.Stop()
	id := func(i int) store.ID { return store.ID{Blob: "sha256:b", TOC: digest.Digest(fmt.Sprint(i))} }
	text := strings.Repeat("t", treesMemory)
	for i, size := range []int{treesMemory / 3, treesMemory / 3, treesMemory / 3, treesMemory / 3, treesMemory} {
		root := tree.NewDir(0o755)
		root.Dir.Add("link", &tree.Inode{Mode: unix.S_IFLNK, Target: text[:size]})
		trees.add(id(i), root)
		trees.add(id(i), root) // as good as once
	}
	kept := func() (s string) {
		for i := range 5 {
			if _, ok := trees.get(id(i)); ok {
				s += fmt.Sprint(i)
			}
		}
		return s
	}
	if got := kept(); got != "4" {
		t.Errorf("kept: %s", got)
	}
	small := tree.NewDir(0o755)
	trees.add(id(0), small)
	trees.add(id(1), small)
	if got := kept(); got != "01" {
		t.Errorf("kept: %s", got)
	}
	if want := 2 * tree.Memory(small); trees.mu.bytes != want {
		t.Errorf("%d bytes, want %d", trees.mu.bytes, want)
	}
	trees.forget()
	if got := kept(); got != "" || trees.mu.bytes != 0 {
		t.Errorf("kept: %s, %d bytes", got, trees.mu.bytes)
	}
}
