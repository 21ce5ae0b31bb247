package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// damages are ways in which a file gets bad.
var damages = map[string]func(path string) error{
	"missing":   os.Remove,
	"empty":     func(path string) error { return os.Truncate(path, 0) },
	"truncated": func(path string) error { return resize(path, -1) },
	"longer":    func(path string) error { return resize(path, 1) },
	"garbled":   func(path string) error { return garble(path, 0.5) },
	"headless":  func(path string) error { return garble(path, 0) },
	"directory": func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o700)
	},
}

func resize(path string, by int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()+by)
}

// garble flips a bit of the byte that is the given fraction into the file.
func garble(path string, where float64) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[int(float64(len(b))*where)] ^= 4
	return os.WriteFile(path, b, 0o600)
}

// TestDamagedLayer: whatever file of a layer is bad, either the layer is absent
// and can be added again, or it is as it was, with no chunk wrongly present.
func TestDamagedLayer(t *testing.T) {
	for _, file := range []string{"meta.json", "chunks", "entries", "data", "present"} {
		for name, damage := range damages {
			if file == "data" && (name == "garbled" || name == "headless") {
				continue // who fills verifies; nobody reads all data at each start
			}
			t.Run(file+"/"+name, func(t *testing.T) {
				root := t.TempDir()
				s := open(t, root, store.Options{})
				l := add(t, s, 1)
				fill(t, l, 1, 3)
				closeLayer(t, l)
				closeLayer(t, add(t, s, 2))
				closeStore(t, s)
				if err := damage(filepath.Join(root, "layers/1", file)); err != nil {
					t.Fatal(err)
				}
				s = open(t, root, store.Options{})
				checkDamaged(t, s, file)
				closeLayer(t, layer(t, s, 2))
				healed := add(t, s, 1)
				fill(t, healed, 1, 3)
				fill(t, healed, 1, 4)
				for n := 3; n <= 4; n++ {
					wantState(t, healed, n, store.Present)
					if err := verify(healed, 1, n); err != nil {
						t.Error(err)
					}
				}
				if _, err := healed.Entries(); err != nil {
					t.Error(err)
				}
				closeLayer(t, healed)
			})
		}
	}
}

func checkDamaged(t *testing.T, s *store.Store, file string) {
	t.Helper()
	l, err := s.Layer(sampleID(1))
	switch {
	case file == "present" && err == nil:
		for n := range sampleChunks {
			if l.State(n) == store.Present {
				t.Errorf("chunk %d is believed to be present", n)
			}
		}
		closeLayer(t, l)
	case err != nil:
		wantNotFound(t, s, 1)
	default: // the entries are read on demand
		defer closeLayer(t, l)
		if file != "entries" {
			t.Fatalf("layer with damaged %s was opened", file)
		}
		if _, err := l.Entries(); err == nil {
			t.Error("damaged entries were returned")
		}
		wantNotFound(t, s, 1)
		// Who has it open goes on.
		if err := verify(l, 1, 3); err != nil {
			t.Error(err)
		}
		fill(t, l, 1, 4)
	}
}

func TestDamageFoundLater(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	closeLayer(t, add(t, s, 1))
	if err := os.RemoveAll(filepath.Join(root, "layers/1")); err != nil {
		t.Fatal(err)
	}
	wantNotFound(t, s, 1)
	l := add(t, s, 1)
	defer closeLayer(t, l)
	if l.Number() == 1 {
		t.Error("a number was used twice")
	}
}

// TestLackOfDescriptorsIsNoDamage: an error that passes must not cost a layer.
func TestLackOfDescriptorsIsNoDamage(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	closeLayer(t, add(t, s, 1))
	withoutDescriptors(t, func() {
		if _, err := s.Layer(sampleID(1)); err == nil {
			t.Error("opened without descriptors")
		}
	})
	closeLayer(t, layer(t, s, 1))
}

func TestDamagedTree(t *testing.T) {
	for _, file := range []string{"meta.json", "image"} {
		for name, damage := range damages {
			t.Run(file+"/"+name, func(t *testing.T) {
				root := t.TempDir()
				s := open(t, root, store.Options{})
				ids := addIDs(t, s, 1, 2)
				spec := store.Spec{Kind: store.Diff, Layers: ids, Lower: ids[:1]}
				image := addTree(t, s, spec)
				closeStore(t, s)
				if err := damage(filepath.Join(filepath.Dir(image.Path), file)); err != nil {
					t.Fatal(err)
				}
				s = open(t, root, store.Options{})
				wantNoTree(t, s, spec)
				healed := addTree(t, s, spec)
				if healed.Number <= image.Number {
					t.Errorf("number %d again", healed.Number)
				}
				checkTree(t, s, spec)
			})
		}
	}
}

func TestDamagedNumbers(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := open(t, root, store.Options{})
			addIDs(t, s, 1, 2, 3)
			closeStore(t, s)
			if err := damage(filepath.Join(root, "numbers")); err != nil {
				t.Fatal(err)
			}
			s = open(t, root, store.Options{})
			l := add(t, s, 4)
			defer closeLayer(t, l)
			if l.Number() <= 3 {
				t.Errorf("number %d again", l.Number())
			}
		})
	}
}
