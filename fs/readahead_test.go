package fs

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/internal/treetest"
)

// TestReadahead looks for one bdi more that reads as far ahead as the disk.
func TestReadahead(t *testing.T) {
	l := newLab(t, "erofs")
	root, data := random(1, treetest.Shape{Inodes: 10})
	id := l.add(t, "layer", root, data)
	want, err := diskReadahead(l.shelf.root)
	if err != nil {
		t.Skipf("no disk to compare with: %v", err)
	}
	want = max(want, defaultReadahead)
	// Other processes may mount EROFS at the same time.
	for range 20 {
		before := erofsBDIs()
		l.mount("o", id)
		added := erofsBDIs()
		maps.DeleteFunc(added, func(name string, _ bool) bool { return before[name] })
		if len(added) == 1 {
			if got := readaheadOf(t, slices.Collect(maps.Keys(added))[0]); got != want {
				t.Errorf("readahead is %d KiB, that of the disk %d", got, want)
			}
			return
		}
		l.release("o")
	}
	t.Error("there is never one bdi more")
}

func readaheadOf(t *testing.T, bdi string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(bdiDir, bdi, "read_ahead_kb"))
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
