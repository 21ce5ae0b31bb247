package snapshot

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// A layer that the store lost is opened again, by what its snapshot says of it, for
// whatever needs its tree; a start does not wait for that.
func TestLostLayerIsOpenedAgain(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	id := d.addLayer(t, "layer", map[string]string{"a": "a"})
	above := d.addLayer(t, "above", map[string]string{"b": "b"})
	prepareRemote(t, s, "layer", "", id, above)
	top := prepareRemote(t, s, "above", "layer", above)
	if _, err := s.Prepare(t.Context(), "active", top); err != nil {
		t.Fatal(err)
	}
	var online atomic.Bool
	var opened atomic.Int64
	d.setOpen(func(_ context.Context, req layer.Request) (store.ID, error) {
		opened.Add(1)
		got := store.ID{Blob: req.Source.Digest, TOC: req.TOC}
		if d.has(got) {
			return got, nil
		}
		if !online.Load() {
			return store.ID{}, errors.New("no route to the registry")
		}
		if req.Source.Ref != "registry.test/image:1" {
			t.Errorf("asked for with %+v", req)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.mu.layers[got] = true
		return got, nil
	})
	lose := func() {
		d.removeLayer(id)
		d.removeLayer(above)
	}
	calls := map[string]func(key string) error{
		"mounts": func(string) error { _, err := s.Mounts(t.Context(), "active"); return err },
		"view":   func(key string) error { _, err := s.View(t.Context(), key, top); return err },
		"active": func(key string) error { _, err := s.Prepare(t.Context(), key, top); return err },
		"merge": func(key string) error {
			_, err := s.Prepare(t.Context(), key, "", asMerge("layer above"))
			return err
		},
	}
	for name, call := range calls {
		online.Store(false)
		lose()
		err := call("offline " + name)
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "registry.test/image:1") {
			t.Errorf("%s offline: %v", name, err)
		}
		online.Store(true)
		if err := call("online " + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	lose()
	opened.Store(0)
	restarted := copyRoot(t, d, s, func(string) {})
	if n := opened.Load(); n > 0 {
		t.Errorf("the start opened %d layers", n)
	}
	for _, key := range []string{"active", "online view", "online active", "online merge"} {
		if _, err := restarted.Mounts(t.Context(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
