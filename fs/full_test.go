package fs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/internal/treetest"
)

// On a full disk a driver is found, also if none was ever tried there, and the trees
// that were mounted before can be again.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for _, kind := range disktest.Kinds {
		for _, driver := range append([]string{"auto"}, drivers...) {
			t.Run(kind+"/"+driver, func(t *testing.T) {
				root := filepath.Join(disktest.New(t, kind, 32<<20), "root")
				if err := os.Mkdir(root, 0o700); err != nil {
					t.Fatal(err)
				}
				s := newShelf(t, root)
				tree, data := random(1, treetest.Shape{Inodes: 50})
				id := s.add(t, "layer", tree, data)
				life := func() {
					t.Helper()
					f, err := New(t.Context(), s.options(driver))
					if err != nil {
						t.Fatal(err)
					}
					path, err := f.Mount(t.Context(), "o", over(id))
					if err == nil {
						compare(t, path, tree, data)
					} else {
						t.Error(err)
					}
					if err := f.Close(t.Context()); err != nil {
						t.Error(err)
					}
					checkNothingLeft(t, root)
				}
				life()
				rest := filepath.Join(root, "rest")
				if err := os.Mkdir(rest, 0o700); err != nil {
					t.Fatal(err)
				}
				free := disktest.Exhaust(t, filepath.Dir(root))
				life()
				if err := os.RemoveAll(filepath.Join(root, "probe")); err != nil {
					t.Fatal(err)
				}
				freeRest := disktest.Exhaust(t, rest)
				life()
				freeRest()
				free()
				life()
			})
		}
	}
}
