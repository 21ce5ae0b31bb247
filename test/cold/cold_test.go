package cold

import (
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

func registryWith(t *testing.T, recipe string, f image.Format) (*stack.Registry, string) {
	t.Helper()
	cache, err := image.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	cache.Log = t.Logf
	img, err := cache.Image(t.Context(), recipe, f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := stack.StartRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	name, err := r.Push(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	return r, name
}

func TestMeasureOverlayfs(t *testing.T) {
	r, name := registryWith(t, "busybox", image.Gzip)
	s := Start{Snapshotter: "overlayfs", Image: name, Args: []string{"sh", "-c", "echo ready; wget -q http://127.0.0.1:1/; echo end"}}
	got, err := Measure(t.Context(), r.Addr, link.Profile{RTT: time.Millisecond}, s)
	if err != nil {
		t.Fatal(err)
	}
	if got.Output != "ready\nend\n" || got.Pull <= 0 || got.Ready <= got.Pull {
		t.Errorf("measured %+v", got)
	}
	if got.Counters.Requests < 3 || got.Counters.BytesDown < 1e6 {
		t.Errorf("counted %+v", got.Counters)
	}
}

// The peer pulls no layer: it reads a part of one.
func TestMeasureStargz(t *testing.T) {
	if err := stack.BuildStargz(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, name := registryWith(t, "debian-python", image.EStargz)
	s := Start{Snapshotter: "stargz", Daemons: []stack.Daemon{stack.Stargz("stargz", "")}, Image: name,
		Args: []string{"python3", "-c", "print('ready')"}}
	got, err := Measure(t.Context(), r.Addr, link.Profile{}, s)
	if err != nil {
		t.Fatal(err)
	}
	if got.Output != "ready\n" || got.Counters.BytesDown > 40e6 {
		t.Errorf("measured %+v", got)
	}
}

// An image that was pulled before and removed is read lazily: a part of one layer.
func TestMeasureAgain(t *testing.T) {
	r, name := registryWith(t, "debian-python", image.Gzip)
	s := Start{Snapshotter: "ladle", Daemons: []stack.Daemon{stack.Ladle("ladle", "no_background_fetch = true\n")}, Image: name, Again: true,
		Args: []string{"python3", "-c", "print('ready')"}}
	got, err := Measure(t.Context(), r.Addr, link.Profile{}, s)
	if err != nil {
		t.Fatal(err)
	}
	if got.Output != "ready\n" || got.Counters.BytesDown > 40e6 {
		t.Errorf("measured %+v", got)
	}
}

func TestMeasureReportsFailure(t *testing.T) {
	r, name := registryWith(t, "busybox", image.Gzip)
	for _, args := range [][]string{{"false"}, {"true"}, {"no such program"}} {
		_, err := Measure(t.Context(), r.Addr, link.Profile{}, Start{Snapshotter: "overlayfs", Image: name, Args: args})
		if err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestMedian(t *testing.T) {
	var samples []Sample
	for _, i := range []int64{5, 1, 9, 3} {
		samples = append(samples, Sample{Ready: time.Duration(i), Counters: link.Counters{Requests: 10 - i}})
	}
	if m := Median(samples); m.Ready != 3 || m.Counters.Requests != 5 {
		t.Errorf("median is %+v", m)
	}
}
