package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// stored is the checksum of what formats and numbers are stored with.
func stored(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// writeLaterMeta writes the meta.json that a later version may write to dir: with
// what this one does not know, and another type of what it knows.
func writeLaterMeta(t *testing.T, dir string) {
	t.Helper()
	meta := json.RawMessage(`{"version":2,"sources":{"main":[1]},"layers":7,"blob":[]}`)
	b, err := json.Marshal(map[string]any{"crc32c": stored(meta), "meta": meta})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// laterFormats make a store with a layer and a tree image one of a later version, as a
// whole or in a part.
var laterFormats = map[string]func(t *testing.T, root string){
	"file": func(t *testing.T, root string) {
		if err := os.WriteFile(filepath.Join(root, "format"), fmt.Appendf(nil, "2 %08x\n", stored([]byte("2"))), 0o600); err != nil {
			t.Fatal(err)
		}
	},
	"layer": func(t *testing.T, root string) { writeLaterMeta(t, filepath.Join(root, "layers/1")) },
	"tree":  func(t *testing.T, root string) { writeLaterMeta(t, filepath.Join(root, "trees/2")) },
}

// TestLaterFormat: what a later version wrote is refused, and left as it is for that
// version to be installed again.
func TestLaterFormat(t *testing.T) {
	for name, edit := range laterFormats {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := open(t, root, store.Options{})
			addTree(t, s, over(addIDs(t, s, 1)...))
			closeStore(t, s)
			edit(t, root)
			before := content(t, root)
			for range 2 {
				s, err := store.Open(t.Context(), root, store.Options{})
				if !errors.Is(err, store.ErrLaterFormat) {
					t.Errorf("Open: %v", err)
				}
				if err == nil {
					closeStore(t, s)
				}
			}
			wantContent(t, root, before)
		})
	}
}

// TestLaterFormatOfOpenStore: so is a part that becomes one of a later version while
// the store is open.
func TestLaterFormatOfOpenStore(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	spec := over(addIDs(t, s, 1)...)
	addTree(t, s, spec)
	closeStore(t, s)
	s = open(t, root, store.Options{}) // which has not read its tree images
	writeLaterMeta(t, filepath.Join(root, "layers/1"))
	writeLaterMeta(t, filepath.Join(root, "trees/2"))
	before := content(t, root)
	if _, err := s.Layer(sampleID(1)); !errors.Is(err, store.ErrLaterFormat) {
		t.Errorf("Layer: %v", err)
	}
	if _, err := s.Tree(t.Context(), spec); !errors.Is(err, store.ErrLaterFormat) {
		t.Errorf("Tree: %v", err)
	}
	wantContent(t, root, before)
}

// TestStoreWithoutFormat: a store of before there was the file is of version 1, and one
// with a damaged file is read, too.
func TestStoreWithoutFormat(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := open(t, root, store.Options{})
			closeLayer(t, add(t, s, 1))
			closeStore(t, s)
			path := filepath.Join(root, "format")
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			s = open(t, root, store.Options{})
			closeLayer(t, layer(t, s, 1))
			if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
				t.Errorf("the file has %q, %v; want %q", got, err, want)
			}
		})
	}
}

// content returns the content of each file below root, and "" for each directory.
func content(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || d.IsDir() {
			files[name] = ""
			return err
		}
		b, err := os.ReadFile(path)
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func wantContent(t *testing.T, root string, want map[string]string) {
	t.Helper()
	got := content(t, root)
	for name := range want {
		if _, there := got[name]; !there {
			t.Errorf("%s is gone", name)
		}
	}
	for name, is := range got {
		if was, there := want[name]; !there || was != is {
			t.Errorf("%s is new, or another", name)
		}
	}
}
