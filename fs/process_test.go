package fs

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

const daemonFile = 256 << 10 // bytes of the files a and b of the daemons' tree

// daemonLayers are the layers of the daemons that tests start.
func daemonLayers() (names []string, roots []*tree.Inode, data []io.ReaderAt) {
	random, pattern := random(1, treetest.Shape{Inodes: 100})
	return []string{"files", "random"},
		[]*tree.Inode{files(daemonFile), random},
		[]io.ReaderAt{treetest.Pattern(9), pattern}
}

// openDaemon opens store and file system in root as a daemon does.
func openDaemon(ctx context.Context, root, driver string, from *Connection) (*FileSystem, *shelf, []store.ID, error) {
	st, err := store.Open(ctx, filepath.Join(root, "store"), store.Options{})
	if err != nil {
		return nil, nil, nil, err
	}
	s := &shelf{root: root, store: st}
	s.mu.books = map[store.ID]*book{}
	var ids []store.ID
	names, roots, data := daemonLayers()
	for i := range names {
		id, err := s.put(names[i], roots[i], data[i])
		if err != nil {
			return nil, nil, nil, err
		}
		ids = append(ids, id)
	}
	opts := s.options(driver)
	opts.Takeover = from
	f, err := New(ctx, opts)
	return f, s, ids, err
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
				if points, err := mountsBelow(root); err != nil || len(points) != 3 {
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
			if err := detachStale(t.Context(), filepath.Join(root, "m"), filepath.Join(root, "f"), filepath.Join(root, "l")); err != nil {
				t.Error(err)
			}
			if err := os.MkdirAll(filepath.Join(root, "l"), 0o700); err != nil {
				t.Error(err)
			}
		})
	}
}
