package layer_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// A layer is unfinished while chunks are absent, and then until it is proved, if anything proves
// it; open or not.
func TestUnfinished(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(3, 5))
	wants := func(all ...layer.Unfinished) {
		t.Helper()
		if got := b.set.Unfinished(); !reflect.DeepEqual(got, all) {
			t.Errorf("unfinished are %+v, want %+v", got, all)
		}
	}
	absent := layer.Unfinished{Images: []string{b.req.Source.Ref}}
	unproved := layer.Unfinished{Images: []string{b.req.Source.Ref}, Unproved: true}
	wants()
	b.open(t)
	wants(absent)
	b.stop(t)
	b.start(t, layer.Options{NoFill: true, ReadTimeout: patient}, store.Options{})
	wants(absent)
	l := b.open(t)
	b.checkAll(t, l)
	wants()
	b.stop(t)
	b.start(t, layer.Options{FillDelay: time.Hour, ReadTimeout: patient}, store.Options{})
	wants(unproved)
	b.open(t)
	wants(unproved)
	b.stop(t)
	b.start(t, filling, store.Options{})
	b.open(t)
	waittest.For(t, "the layer to be proved", func() bool { return b.set.Unfinished() == nil })
}
