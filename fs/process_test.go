package fs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// openDaemon opens store and file system in root as a daemon does, with the
// layers that stockDaemon put there.
func openDaemon(ctx context.Context, root, driver string) (*FileSystem, []store.ID, error) {
	st, err := store.Open(ctx, filepath.Join(root, "store"), store.Options{})
	if err != nil {
		return nil, nil, err
	}
	s := &shelf{root: root, store: st}
	s.mu.books = map[store.ID]*book{}
	var ids []store.ID
	for i := range 3 {
		inodes, data := random(uint64(i), treetest.Shape{Inodes: 100, Layer: true, Collide: true})
		name := fmt.Sprint("layer ", i)
		id := store.ID{Blob: digest.FromString(name), TOC: digest.FromString("TOC")}
		layer, err := st.Add(id, store.Content{DataSize: treetest.DataSize(inodes, 0)})
		if err != nil {
			return nil, nil, err
		}
		s.mu.books[id] = &book{Layer: layer, root: inodes, data: data}
		ids = append(ids, id)
	}
	f, err := New(ctx, s.options(driver))
	return f, ids, err
}

// TestStartAfterKill: the next daemon finds mounts that nobody serves.
func TestStartAfterKill(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			root := testDir(t)
			t.Cleanup(func() { checkNothingLeft(t, root) })
			var paths []string
			for range 3 {
				c := startChild(t, "daemon", nil, root, driver)
				path := c.line(t)
				paths = append(paths, path)
				if points, err := mountsBelow(root); err != nil || len(points) != 2 {
					t.Errorf("mounted: %v (%v)", points, err)
				}
				tree, err := treetest.FromDir(path)
				if err != nil {
					t.Fatal(err)
				}
				if tree.Dir.Len() == 0 {
					t.Error("tree is empty")
				}
				c.kill(t)
			}
			if paths[0] != paths[1] || paths[1] != paths[2] {
				t.Errorf("the path of a tree changed: %v", paths)
			}
			// What the last child left is found also where the
			// FileSystem is not opened again.
			if err := removeStale(t.Context(), filepath.Join(root, "f"), filepath.Join(root, "l")); err != nil {
				t.Error(err)
			}
			if err := os.MkdirAll(filepath.Join(root, "l"), 0o700); err != nil {
				t.Error(err)
			}
		})
	}
}
