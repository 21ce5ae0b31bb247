package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// presentFile returns the presence marks of the only layer in the store at root.
func presentFile(t *testing.T, root string) string {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(root, "layers/*/present"))
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	return paths[0]
}

// underBoot opens sample layer 1 under a boot id and passes it to use.
func underBoot(t *testing.T, root, bootID string, use func(l *store.Layer)) {
	t.Helper()
	s := open(t, root, store.Options{BootID: bootID})
	l := add(t, s, 1)
	use(l)
	closeLayer(t, l)
	closeStore(t, s)
}

func TestMarksOfAnEarlierBootAreDoubtful(t *testing.T) {
	root := t.TempDir()
	underBoot(t, root, "one", func(l *store.Layer) {
		fill(t, l, 1, 0)
		fill(t, l, 1, 1)
	})
	underBoot(t, root, "one", func(l *store.Layer) { wantState(t, l, 0, store.Present) })
	underBoot(t, root, "two", func(l *store.Layer) {
		wantState(t, l, 0, store.Doubtful)
		wantState(t, l, 1, store.Doubtful)
		wantState(t, l, 2, store.Absent)
		fill(t, l, 1, 2)
		if err := l.Mark(0, store.Present); err != nil {
			t.Fatal(err)
		}
	})
	for range 2 { // what is doubtful stays so until somebody verified it
		underBoot(t, root, "two", func(l *store.Layer) {
			wantState(t, l, 0, store.Present)
			wantState(t, l, 1, store.Doubtful)
			wantState(t, l, 2, store.Present)
		})
	}
	underBoot(t, root, "one", func(l *store.Layer) {
		for n := range 3 {
			wantState(t, l, n, store.Doubtful)
		}
	})
}

// TestLongBootID: what does not fit into the header must not make two boots
// the same.
func TestLongBootID(t *testing.T) {
	root := t.TempDir()
	longest := strings.Repeat("x", 40)
	underBoot(t, root, longest, func(l *store.Layer) { fill(t, l, 1, 0) })
	underBoot(t, root, longest, func(l *store.Layer) { wantState(t, l, 0, store.Present) })
	if _, err := store.Open(t.Context(), root, store.Options{BootID: longest + "x"}); err == nil {
		t.Error("a longer one was accepted")
	}
}

// TestBootChangeKilledHalfway: until the new file is renamed into place the
// old one says its old boot id, so that nothing is believed.
func TestBootChangeKilledHalfway(t *testing.T) {
	root := t.TempDir()
	underBoot(t, root, "one", func(l *store.Layer) { fill(t, l, 1, 0) })
	old, err := os.ReadFile(presentFile(t, root))
	if err != nil {
		t.Fatal(err)
	}
	underBoot(t, root, "two", func(l *store.Layer) { fill(t, l, 1, 1) })
	if err := os.WriteFile(filepath.Join(root, "tmp/present123"), []byte("lad"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(presentFile(t, root), old, 0o600); err != nil {
		t.Fatal(err)
	}
	underBoot(t, root, "two", func(l *store.Layer) {
		wantState(t, l, 0, store.Doubtful)
		wantState(t, l, 1, store.Absent)
	})
}

func TestKernelBootID(t *testing.T) {
	root := t.TempDir()
	underBoot(t, root, "", func(l *store.Layer) { fill(t, l, 1, 0) })
	underBoot(t, root, "", func(l *store.Layer) { wantState(t, l, 0, store.Present) })
	underBoot(t, root, "other", func(l *store.Layer) { wantState(t, l, 0, store.Doubtful) })
}
