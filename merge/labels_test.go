package merge_test

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/store"
)

func TestLabels(t *testing.T) {
	pairs := []merge.Keys{{Upper: "a"}, {Lower: "a/b c", Upper: "d"}, {Lower: "only"}, {Upper: "x"}}
	for range 8 {
		pairs = append(pairs, merge.Keys{Lower: "l", Upper: "u"}) // two digits
	}
	labels := merge.Labels(pairs)
	labels["containerd.io/snapshot/other"] = "ignored"
	got, err := merge.ParseLabels(labels)
	if err != nil || !slices.Equal(got, pairs) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := merge.ParseLabels(nil); err != nil || len(got) > 0 {
		t.Errorf("no labels: %v, %v", got, err)
	}
}

func TestLabelsThatMakeNoSense(t *testing.T) {
	for _, key := range []string{"", "upper", ".upper", "0", "0.", "0.Upper", "01.upper", "+1.upper", "-0.upper", "1.upper", "99999.upper", "0x0.upper", "0.upper.more"} {
		if got, err := merge.ParseLabels(map[string]string{merge.LabelPrefix + key: "a"}); err == nil {
			t.Errorf("%q: %v", key, got)
		}
	}
}

func FuzzParseLabels(f *testing.F) {
	f.Add("0.upper", "a", "1.lower", "b")
	f.Add("1.upper", "a", "0.upper", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		labels := map[string]string{merge.LabelPrefix + k1: v1, merge.LabelPrefix + k2: v2}
		var pairs []merge.Keys
		var err error
		memtest.BoundSmall(t, len(k1)+len(v1)+len(k2)+len(v2), 64, func() { pairs, err = merge.ParseLabels(labels) })
		if err != nil {
			return
		}
		again, err := merge.ParseLabels(merge.Labels(pairs))
		if err != nil || !slices.Equal(pairs, again) {
			t.Errorf("%v, then %v, %v", pairs, again, err)
		}
	})
}

func TestHowDiffsComeAbout(t *testing.T) {
	id := func(name string) store.ID {
		return store.ID{Blob: digest.FromString(name), TOC: digest.FromString("TOC " + name)}
	}
	tree := func(kind store.Kind, names ...string) merge.Lower {
		var s store.Spec
		for s.Kind = kind; len(names) > 0; names = names[1:] {
			s.Layers = append(s.Layers, id(names[0]))
		}
		return merge.Lower{Tree: s}
	}
	dir := func(path string) merge.Lower { return merge.Lower{Dir: path} }
	a, b, diff := tree(store.Lowest, "a"), tree(store.AsIs, "b"), tree(store.Diff, "d")
	for name, test := range map[string]struct {
		pair       merge.Pair
		index, own bool
	}{
		"lazy from nothing":        {merge.Pair{Upper: merge.Side{a}}, true, true},
		"lazy and its child":       {merge.Pair{Lower: merge.Side{a}, Upper: merge.Side{a, b}}, true, true},
		"lazy and an unrelated":    {merge.Pair{Lower: merge.Side{tree(store.Lowest, "c"), b}, Upper: merge.Side{a, b}}, true, false},
		"lazy to nothing":          {merge.Pair{Lower: merge.Side{a}}, false, false},
		"local over lazy":          {merge.Pair{Lower: merge.Side{a}, Upper: merge.Side{a, dir("l")}}, false, true},
		"lazy over local":          {merge.Pair{Lower: merge.Side{dir("l")}, Upper: merge.Side{dir("l"), b}}, false, true},
		"local and its grandchild": {merge.Pair{Lower: merge.Side{dir("l")}, Upper: merge.Side{dir("l"), dir("m"), dir("n")}}, false, false},
		"merge of lazy ones":       {merge.Pair{Lower: merge.Side{a}, Upper: merge.Side{a, diff}}, false, true},
	} {
		spec, index := test.pair.Index(false)
		_, own := test.pair.Own()
		if index != test.index || own != test.own {
			t.Errorf("%s: index %v, own %v", name, index, own)
		}
		if index && spec.Check() != nil {
			t.Errorf("%s: %+v: %v", name, spec, spec.Check())
		}
	}
	lowest, ok := merge.Pair{Upper: merge.Side{a, b}}.Index(true)
	if want := (store.Spec{Kind: store.Lowest, Layers: []store.ID{id("a"), id("b")}}); !ok || !lowest.Equal(want) {
		t.Errorf("lowest: %+v, %v", lowest, ok)
	}
}
