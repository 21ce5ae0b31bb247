package merge_test

import (
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/merge"
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
