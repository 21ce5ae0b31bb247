package layer_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

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
	blob := b.req.Source.Digest
	absent := layer.Unfinished{Blob: blob, Images: []string{b.req.Source.Ref}}
	unproved := layer.Unfinished{Blob: blob, Images: []string{b.req.Source.Ref}, Unproved: true}
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

// A layer is fetched from an image that a client did not name, once it is known, and from then on.
func TestAddSource(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(4, 5))
	l := b.open(t)
	other := registrytest.New(t, registrytest.Options{})
	other.AddBlob(b.blob)
	ref := other.Ref("copy:1")
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 401}))
	for _, blob := range []digest.Digest{digest.FromString("of no layer"), b.req.Source.Digest} {
		if err := b.set.AddSource(blob, ref); err != nil {
			t.Fatal(err)
		}
	}
	b.checkAll(t, l)
	if got := l.Full(); !got || len(other.Log()) == 0 {
		t.Errorf("full: %t, of the other image %d requests", got, len(other.Log()))
	}
	b.stop(t)
	b.start(t, filling, store.Options{})
	b.open(t)
	if all := b.set.Unfinished(); len(all) > 0 && !reflect.DeepEqual(all[0].Images, []string{b.req.Source.Ref, ref}) {
		t.Errorf("its images are %q", all[0].Images)
	}
}
