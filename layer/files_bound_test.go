package layer

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// A layer of very many programs and libraries does not take as much memory.
func TestFilesAreBounded(t *testing.T) {
	root := tree.NewDir(0o755)
	for n := range int64(maxPrograms + 100) {
		root.Dir.Add(fmt.Sprintf("%d.so", n), &tree.Inode{Mode: unix.S_IFREG | 0o755, Size: 1, Data: tree.Extent{Offset: n * tree.BlockSize}})
	}
	f, err := findFiles(t.Context(), root)
	if err != nil || len(f.programs) != maxPrograms || len(f.libraries) != maxLibraries {
		t.Errorf("%d programs, %d libraries, %v", len(f.programs), len(f.libraries), err)
	}
}
