package fs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
)

// Shown knows a tree by its path, also through a link, for as long as it is mounted.
func TestShown(t *testing.T) {
	l := newLab(t, "erofs")
	root, data := random(1, treetest.Shape{Inodes: 5})
	spec := store.Spec{Kind: store.Lowest, Layers: []store.ID{l.add(t, "one", root, data), l.add(t, "two", root, data)}}
	path := l.mountSpec("owner", spec)
	other := l.mount("other", spec.Layers[0])
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, filepath.Join(link, filepath.Base(path))} {
		if got, ok := l.Shown(at); !ok || !got.Equal(spec) {
			t.Errorf("%s shows %+v, %v", at, got, ok)
		}
	}
	l.release("owner")
	for _, at := range []string{path, filepath.Dir(path), link, filepath.Join(path, "x"), "/none/1", "relative"} {
		if got, ok := l.Shown(at); ok {
			t.Errorf("%s shows %+v, which is not mounted there", at, got)
		}
	}
	if _, ok := l.Shown(other); !ok {
		t.Error("the tree that remains is not known any more")
	}
}
