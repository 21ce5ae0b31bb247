package fs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// TestStackTrees mounts one tree of several differences. No data is read for
// that.
func TestStackTrees(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.shelveSamples(t)
		var parts []store.Spec
		var roots []*tree.Inode
		var data []io.ReaderAt
		devices := 0
		for _, d := range diffs {
			part := store.Spec{Kind: store.Diff, Layers: pick(ids, d.upper), Lower: pick(ids, d.lower)}
			root, from := wantDiff(d.lower, d.upper)
			if err := recount(root, -len(data)); err != nil {
				t.Fatal(err)
			}
			devices += d.devices
			parts, roots, data = append(parts, part), append(roots, root), append(data, from...)
		}
		spec := store.StackOf(parts...)
		if n := len(devicesOf(spec)); n != devices {
			t.Errorf("%d devices, want %d", n, devices)
		}
		base := l.mountSpec("below", store.Spec{Kind: store.Lowest, Layers: ids[3:4]})
		want := tree.Stack(roots...)
		tree.NoteAttributed(want)
		compareStacked(t, []string{base, l.mountUnread(t, spec, want, ids)}, want, data)
	})
}

// TestStackOfManyLayers has more layers than overlayfs takes lowers, or, where
// each takes a loop device, many.
func TestStackOfManyLayers(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		n := 600
		if l.Driver() == "loop" {
			n = 50
		}
		var parts []store.Spec
		for i := range n {
			data := treetest.Pattern(uint64(i))
			file := &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 100}
			root := tree.NewDir(0o755)
			root.Dir.Add(fmt.Sprint("f", i), file)
			id, err := l.put(fmt.Sprint("layer ", i), root, data)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, store.Spec{Kind: store.Diff, Layers: []store.ID{id}})
		}
		path := l.mountSpec("o", store.StackOf(parts...))
		for _, i := range []int{0, n / 2, n - 1} {
			want := make([]byte, 100)
			if _, err := treetest.Pattern(uint64(i)).ReadAt(want, 0); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(path, fmt.Sprint("f", i)))
			if err != nil || string(got) != string(want) {
				t.Errorf("f%d: %x, %v", i, got, err)
			}
		}
	})
}
