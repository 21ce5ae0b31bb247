package snapshot

import (
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// TestLayersThatAreThereTwice mounts images that have a layer more than once. A
// differ finds one layer between each two views, and nothing else changed.
func TestLayersThatAreThereTwice(t *testing.T) {
	for _, layers := range []string{"ba", "baa", "baba", "aaa", "ebe", "beae", "babaab"} {
		t.Run(layers, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d)
			contents := map[rune]map[string]string{
				'a': {"a": "a", "all": "a", "b": ""}, // a whiteout
				'b': {"b": "b", "all": "b"},
				'e': {},
			}
			want := map[string]string{}
			var below []string
			top := ""
			for i, name := range layers {
				for path, content := range contents[name] {
					if want[path] = content; content == "" {
						delete(want, path)
					}
				}
				top = prepareRemote(t, s, layers[:i+1], top, d.addLayerOnce(t, string(name), contents[name]))
				view, err := s.View(t.Context(), "view "+top, top)
				if err != nil {
					t.Fatal(err)
				}
				shown := viewLayers(t, view)
				if len(shown) != i+1 || !slices.Equal(shown[1:], below) {
					t.Errorf("view of %s has layers %v, its parent's has %v", top, shown, below)
				}
				below = shown
				wantFiles(t, top, view, want)
			}
			active, err := s.Prepare(t.Context(), "active", top)
			if err != nil {
				t.Fatal(err)
			}
			wantFiles(t, "what runs on "+top, active, want)
			owned := len(d.mu.owners)
			for i := range layers {
				if err := s.Remove(t.Context(), "view "+layers[:i+1]); err != nil {
					t.Error(err)
				}
			}
			if left := len(d.mu.owners); left != 1 {
				t.Errorf("%d trees are mounted for one snapshot, and were for all: %d", left, owned)
			}
		})
	}
}

// addLayerOnce is addLayer, unless it was before.
func (d *disk) addLayerOnce(t *testing.T, name string, files map[string]string) store.ID {
	t.Helper()
	if id := idOf(name); d.has(id) {
		return id
	}
	return d.addLayer(t, name, files)
}

// TestMergesOfWhatIsThereTwice merges diffs twice: of lazy layers, also over an
// image that has them, and of local ones.
func TestMergesOfWhatIsThereTwice(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	b, a := d.addLayer(t, "b", map[string]string{"b": "b"}), d.addLayer(t, "a", map[string]string{"a": "a", "both": "a"})
	prepareRemote(t, s, "b", "", b)
	prepareRemote(t, s, "ba", "b", a)
	prepareRemote(t, s, "baa", "ba", a)
	commitFiles(t, s, "local", "baa", map[string]string{"local": "l", "both": "l"})
	commitMerge(t, s, "merge", "baa", "baa local", "b ba")
	for name, test := range map[string]struct {
		parent string
		pairs  []string
		both   string
	}{
		"lazy":       {"baa", []string{"b ba", "baa local", "b ba"}, "a"},
		"own":        {"local", []string{"baa local", "b ba", "baa local"}, "l"},
		"both":       {"local", []string{"b ba", "baa local", "b ba", "baa local", "b ba"}, "a"},
		"a whole":    {"b", []string{" baa", "baa local", " baa"}, "a"},
		"over merge": {"merge", []string{"b ba", "baa local"}, "l"},
	} {
		commitMerge(t, s, name, test.parent, test.pairs...)
		want := map[string]string{"a": "a", "b": "b", "local": "l", "both": test.both}
		wantFiles(t, "view of "+name, viewOf(t, s, name), want)
		active, err := s.Prepare(t.Context(), "active "+name, name)
		if err != nil {
			t.Fatal(err)
		}
		wantFiles(t, "what runs on "+name, active, want)
	}
}
