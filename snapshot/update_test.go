package snapshot

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

const transientKey = "containerd.io/snapshot/remote/stargz.digest." + transientID

func TestTransientLabels(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitLocal(t, s, "local", "")
	update := func(labels map[string]string, fields ...string) snapshots.Info {
		t.Helper()
		info, err := s.Update(t.Context(), snapshots.Info{Name: "local", Labels: labels}, fields...)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := s.Stat(t.Context(), "local")
		if err != nil || fmt.Sprint(seen) != fmt.Sprint(info) {
			t.Errorf("updated to %v, but stat has %v, %v", info, seen, err)
		}
		return info
	}
	is := func(info snapshots.Info, want string) {
		t.Helper()
		if got := strings.TrimPrefix(fmt.Sprint(info.Labels), "map"); got != want {
			t.Errorf("labels %s, want %s", got, want)
		}
	}
	is(update(map[string]string{transientKey: "p", "k": "v"}, "labels."+transientKey, "labels.k"), "["+transientKey+":p k:v]")
	is(update(nil, "labels.k"), "["+transientKey+":p]")
	is(update(nil, "labels."+transientKey), "[]")
	is(update(map[string]string{transientKey: "p", "k": "v"}), "["+transientKey+":p k:v]")
	is(update(map[string]string{"k": "v"}, "labels"), "[k:v]")
	update(map[string]string{transientKey: "p"}, "labels."+transientKey)

	err := s.Walk(t.Context(), func(_ context.Context, info snapshots.Info) error {
		is(info, "["+transientKey+":p k:v]")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	s = reopen(t, d, s)
	info, err := s.Stat(t.Context(), "local")
	if err != nil {
		t.Fatal(err)
	}
	is(info, "[k:v]")

	if _, err := s.Update(t.Context(), info, "parent"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("update of the parent: %v", err)
	}
	if _, err := s.Update(t.Context(), snapshots.Info{Name: "nothing"}, "labels."+transientKey); !errdefs.IsNotFound(err) {
		t.Errorf("update of nothing: %v", err)
	}
}

func TestTransientLabelsAreNotKeptOfPrepare(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	id := d.addLayer(t, "layer", map[string]string{"f": "f"})
	labels := suffixed(buildkitLabels("target", id.Blob, id.TOC, id.Blob))
	if _, err := s.Prepare(t.Context(), "key", "", snapshots.WithLabels(labels)); !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	info, err := s.Stat(t.Context(), "target")
	if err != nil {
		t.Fatal(err)
	}
	for key := range info.Labels {
		if strings.HasSuffix(key, transientID) {
			t.Errorf("label %s is kept", key)
		}
	}
}

func TestConcurrentUpdates(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint("snapshot", i)
			for range 20 {
				if _, err := s.Prepare(t.Context(), name, ""); err != nil {
					t.Error(err)
				}
				for _, label := range []string{transientKey, "k"} {
					if _, err := s.Update(t.Context(), snapshots.Info{Name: name, Labels: map[string]string{label: "v"}}, "labels."+label); err != nil {
						t.Error(err)
					}
				}
				if err := s.Walk(t.Context(), func(context.Context, snapshots.Info) error { return nil }); err != nil {
					t.Error(err)
				}
				if err := s.Remove(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.transient.mu.labels); n != 0 {
		t.Errorf("%d removed snapshots have labels", n)
	}
}

// BenchmarkLabelStorm is what BuildKit does to each layer of a lazy image
// before and after each call (facts: 76 updates and 130 stats for a Dockerfile
// of three instructions over two layers).
func BenchmarkLabelStorm(b *testing.B) {
	d := newDisk(b)
	s := newEndpoint(b, d)
	id := d.addLayer(b, "layer", map[string]string{"f": "f"})
	prepareRemote(b, s, "target", "", id)
	fields := []string{"labels." + transientKey}
	for b.Loop() {
		for _, value := range []string{"v", ""} {
			if _, err := s.Stat(b.Context(), "target"); err != nil {
				b.Fatal(err)
			}
			info := snapshots.Info{Name: "target", Labels: map[string]string{transientKey: value}}
			if _, err := s.Update(b.Context(), info, fields...); err != nil {
				b.Fatal(err)
			}
		}
	}
}
