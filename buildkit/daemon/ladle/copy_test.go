package ladle

import (
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// A copy is asked for with one Prepare, of the parent that is meant, and is not
// believed of a snapshotter that ignores it.
func TestWithCopy(t *testing.T) {
	l := newLab(t, &backend{})
	l.commit(t, "from", "")
	l.commit(t, "parent", "from")
	ctx := WithCopy(t.Context(), Copy{From: "from", Parent: "parent", Source: "/a", Target: "/b/"})
	for _, other := range []func() error{
		func() error { return l.Prepare(ctx, "other", "from") },
		func() error { return l.Prepare(ctx, "extract-it", "parent") },
		func() error {
			return l.Prepare(ctx, "merge", "parent", snapshots.WithLabels(map[string]string{"a": "b"}))
		},
	} {
		if err := other(); err != nil || l.last().labels[copyLabel+"from"] != "" {
			t.Errorf("%v with the labels %v", err, l.last().labels)
		}
	}
	if err := l.Prepare(ctx, "copy", "parent"); !errdefs.IsNotImplemented(err) {
		t.Errorf("a snapshotter that knows no copies: %v", err)
	}
	asked := l.last().labels
	if asked[copyLabel+"from"] != "from" || asked[copyLabel+"source"] != "/a" || asked[copyLabel+"target"] != "/b/" {
		t.Errorf("labels %v", asked)
	}
	if err := l.Prepare(ctx, "again", "parent"); err != nil || l.last().labels[copyLabel+"from"] != "" {
		t.Errorf("the next one: %v with the labels %v", err, l.last().labels)
	}
	if l.Copies(t.Context()) {
		t.Error("copies are asked of any snapshotter")
	}
}
