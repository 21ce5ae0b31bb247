package layer

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// A tree is decoded once while it is cached, and counts with the memory that it takes.
func TestTreesAreCached(t *testing.T) {
	st, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root := tree.NewDir(0o755)
	root.Dir.Add("file", &tree.Inode{Mode: 0o100644})
	x := &index.Index{Compression: index.Gzip}
	id := store.ID{Blob: digest.FromString("blob"), TOC: digest.FromString("toc")}
	data, err := st.Add(id, store.Content{Chunks: index.EncodeTable(x), Entries: index.EncodeTree(root)})
	if err != nil {
		t.Fatal(err)
	}
	s := NewSet(st, fetch.New(nil, fetch.Options{}), Options{NoFill: true})
	l, err := s.Layer(id)
	if err != nil {
		t.Fatal(err)
	}
	decoded := func() *tree.Inode {
		got, err := l.Tree()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := decoded()
	if again := decoded(); again != first {
		t.Error("decoded twice")
	}
	if got, want := s.caches.trees.Bytes(), tree.Memory(first); got != want {
		t.Errorf("cached with %d bytes, want %d", got, want)
	}
	s.caches.trees.Purge()
	if again := decoded(); again == first {
		t.Error("cached although all were dropped")
	}
	for _, close := range []func() error{l.Close, data.Close, s.Close, st.Close} {
		if err := close(); err != nil {
			t.Error(err)
		}
	}
}
