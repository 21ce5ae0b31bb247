package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// TestPull does what the unpacker of containerd and BuildKit do with an image
// of three lazy layers, in each dialect and through each way to an endpoint.
func TestPull(t *testing.T) {
	dialects := map[string]func(target string, layers ...store.ID) map[string]string{
		"containerd": func(target string, layers ...store.ID) map[string]string {
			return lazyLabels(target, layers[0], layers[1:]...)
		},
		"buildkit": func(target string, layers ...store.ID) map[string]string {
			return buildkitLabels(target, layers[0].Blob, layers[0].TOC, blobs(layers)...)
		},
		"buildkit suffixed": func(target string, layers ...store.ID) map[string]string {
			return suffixed(buildkitLabels(target, layers[0].Blob, layers[0].TOC, blobs(layers)...))
		},
	}
	for way, reach := range clients {
		for dialect, labels := range dialects {
			t.Run(way+", "+dialect, func(t *testing.T) {
				d := newDisk(t)
				s := newEndpoint(t, d)
				client, end, err := reach(s, tempDir(t))
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					noStrays(t, s)
					if err := end(); err != nil {
						t.Error(err)
					}
				}()
				pull(t, client, d, labels)
			})
		}
	}
}

func blobs(layers []store.ID) []digest.Digest {
	var blobs []digest.Digest
	for _, l := range layers {
		blobs = append(blobs, l.Blob)
	}
	return blobs
}

func pull(t *testing.T, client snapshots.Snapshotter, d *disk, labels func(string, ...store.ID) map[string]string) {
	ctx := namespaces.WithNamespace(t.Context(), "test")
	var layers []store.ID
	for i := range 3 {
		name := fmt.Sprint("layer", i)
		layers = append(layers, d.addLayer(t, name, map[string]string{name: name, "all": name}))
	}
	parent := ""
	for i, id := range layers {
		target := "sha256:chain" + fmt.Sprint(i)
		l := labels(target, layers[i:]...)
		_, err := client.Prepare(ctx, "extract-1 "+target, parent, snapshots.WithLabels(l))
		if !errdefs.IsAlreadyExists(err) {
			t.Fatalf("prepare: %v, want ErrAlreadyExists", err)
		}
		info, err := client.Stat(ctx, target)
		if err != nil {
			t.Fatal(err)
		}
		if info.Kind != snapshots.KindCommitted || info.Parent != parent || info.Labels[remoteLabel] == "" {
			t.Errorf("remote snapshot is %+v", info)
		}
		u, err := client.Usage(ctx, target)
		if bytes, inodes, _ := d.Usage(id); err != nil || u.Size != bytes || u.Inodes != inodes {
			t.Errorf("usage %+v (%v), want %d bytes, %d inodes", u, err, bytes, inodes)
		}
		if warmed := d.warmed(); (len(warmed) > 0) != (i == len(layers)-1) {
			t.Errorf("after layer %d warmed %v", i, warmed)
		}
		parent = target
	}
	if got := d.warmed(); !reflect.DeepEqual(got, []store.Spec{{Kind: store.Lowest, Layers: layers}}) {
		t.Errorf("warmed %v, want %v", got, layers)
	}
	mounts, err := client.Prepare(ctx, "container", parent)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"layer0": "layer0", "layer1": "layer1", "layer2": "layer2", "all": "layer2"}
	if got := files(t, mounts); !maps.Equal(got, want) {
		t.Errorf("container sees %v, want %v", got, want)
	}
	if err := client.Commit(ctx, "committed", "container"); err != nil {
		t.Fatal(err)
	}
	if owners := d.allOwners(); len(owners) != 0 {
		t.Errorf("after commit trees belong to %v", owners)
	}
}

// captured is the log lines of a test.
type captured struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (c *captured) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.Buffer.Write(b)
}

// take returns the lines since the last take.
func (c *captured) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.mu.Reset()
	return c.mu.String()
}

func withLog(ctx context.Context) (context.Context, *captured) {
	c := &captured{}
	logger := logrus.New()
	logger.SetOutput(c)
	return log.WithLogger(ctx, logrus.NewEntry(logger)), c
}

// TestFallback prepares layers that are not lazily readable.
func TestFallback(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	parent := prepareRemote(t, s, "parent", "", d.addLayer(t, "parent", map[string]string{"f": "f"}))
	id := idOf("layer")
	unlabelled := map[string]string{"containerd.io/snapshot.ref": "target"}
	broken := lazyLabels("target", id)
	broken["containerd.io/snapshot/stargz/toc.digest"] = "sha256:0"
	for name, test := range map[string]struct {
		labels map[string]string
		open   func(context.Context, layer.Request) (store.ID, error)
		log    []string
	}{
		"not lazy": {lazyLabels("target", id), func(context.Context, layer.Request) (store.ID, error) {
			return store.ID{}, fmt.Errorf("plain gzip: %w", layer.ErrNotLazy)
		}, []string{"level=info", "plain gzip", id.Blob.String()}},
		"registry down": {lazyLabels("target", id), func(context.Context, layer.Request) (store.ID, error) {
			return store.ID{}, errors.New("connection refused")
		}, []string{"level=warning", "connection refused", id.Blob.String()}},
		"registry slow": {lazyLabels("target", id), untilCancelled,
			[]string{"level=warning", "not opened within 1ms"}},
		"no labels":    {unlabelled, nil, []string{"level=info", "annotations"}},
		"broken label": {broken, nil, []string{"level=warning", "toc.digest"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, lines := withLog(t.Context())
			d.setOpen(test.open)
			s.opts.OpenTimeout = time.Minute
			if name == "registry slow" {
				s.opts.OpenTimeout = time.Millisecond
			}
			mounts, err := s.Prepare(ctx, name, parent, snapshots.WithLabels(test.labels))
			if err != nil {
				t.Fatal(err)
			}
			if len(mounts) != 1 || mounts[0].Type != "overlay" || mounts[0].ReadOnly() {
				t.Errorf("mounts %v", mounts)
			}
			text := lines.take()
			for _, want := range append(test.log, `remote-snapshot-prepared=false`) {
				if !strings.Contains(text, want) {
					t.Errorf("log has no %q:\n%s", want, text)
				}
			}
			if n := strings.Count(text, "\n"); n != 1 {
				t.Errorf("%d log lines, want one:\n%s", n, text)
			}
			commitAs := "committed " + name
			if err := s.Commit(ctx, commitAs, name, snapshots.WithLabels(test.labels)); err != nil {
				t.Fatal(err)
			}
			info, err := s.Stat(ctx, commitAs)
			if err != nil || info.Labels[remoteLabel] != "" {
				t.Errorf("committed snapshot is %+v, %v", info, err)
			}
		})
	}
}

// untilCancelled answers when the caller gives up.
func untilCancelled(ctx context.Context, _ layer.Request) (store.ID, error) {
	<-ctx.Done()
	return store.ID{}, fmt.Errorf("fetch index: %w", ctx.Err())
}

func TestPrepareEndsWithItsCaller(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	d.setOpen(untilCancelled)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Prepare(ctx, "key", "", snapshots.WithLabels(lazyLabels("target", idOf("layer"))))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if _, err := s.Stat(t.Context(), "key"); !errdefs.IsNotFound(err) {
		t.Errorf("snapshot of a caller who left: %v", err)
	}
}

// A remote Prepare writes one line, too.
func TestPreparedIsLogged(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	ctx, lines := withLog(t.Context())
	id := d.addLayer(t, "layer", map[string]string{"f": "f"})
	_, err := s.Prepare(ctx, "key", "", snapshots.WithLabels(lazyLabels("target", id)))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	text := lines.take()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "remote-snapshot-prepared=true") || !strings.Contains(text, id.Blob.String()) ||
		!strings.Contains(text, `image="registry.test/image:1"`) {
		t.Errorf("log is\n%s", text)
	}
}

func TestConcurrentPrepares(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	id := d.addLayer(t, "layer", map[string]string{"f": "f"})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, err := s.Prepare(t.Context(), fmt.Sprint("key", i), "", snapshots.WithLabels(lazyLabels("target", id)))
			if !errdefs.IsAlreadyExists(err) {
				t.Errorf("prepare: %v, want ErrAlreadyExists", err)
			}
		})
	}
	wg.Wait()
	infos, err := s.list(t.Context())
	if err != nil || len(infos) != 1 || infos[0].Name != "target" {
		t.Errorf("snapshots %v, %v, want target", infos, err)
	}
	if err := s.Remove(t.Context(), "target"); err != nil {
		t.Fatal(err)
	}
	if isClaimed(s, id) {
		t.Error("the layer of a removed snapshot is claimed")
	}
}

// Names of remote snapshots come from what images claim about themselves.
func TestTakenNames(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	honest := d.addLayer(t, "honest", map[string]string{"f": "honest"})
	evil := d.addLayer(t, "evil", map[string]string{"f": "evil"})
	prepareRemote(t, s, "target", "", honest)

	t.Run("by another layer", func(t *testing.T) {
		mounts, err := s.Prepare(t.Context(), "key", "", snapshots.WithLabels(lazyLabels("target", evil)))
		if err != nil || mounts[0].ReadOnly() {
			t.Fatalf("prepare: %v, %v, want an ordinary snapshot", mounts, err)
		}
		if isClaimed(s, evil) {
			t.Error("a layer that was not used is claimed")
		}
	})
	t.Run("over another parent", func(t *testing.T) {
		parents := []string{commitLocal(t, s, "local1", ""), commitLocal(t, s, "local2", "")}
		for _, parent := range parents {
			prepareRemote(t, s, "child", parent, honest)
			prepareRemote(t, s, "child", parent, honest)
			found, err := s.list(t.Context(), fmt.Sprintf(`labels.%q==child,parent==%q`, snapshots.LabelSnapshotRef, parent))
			if err != nil || len(found) != 1 {
				t.Errorf("over %s there are %v, %v", parent, found, err)
			}
		}
	})
	t.Run("by strange references", func(t *testing.T) {
		for _, ref := range []string{"../../x", "buildkit-layer-snapshot-v1-sha256-00", strings.Repeat("x", 4000), "a\nb"} {
			prepareRemote(t, s, ref, "", honest)
		}
	})
	entries, err := os.ReadDir(s.opts.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "snapshots" && name != settleDir && !strings.HasPrefix(name, "metadata.") {
			t.Errorf("root has %s", name)
		}
	}
}

// Annotations of an image's layers arrive as labels.
func TestOwnLabelsCannotBeSet(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	id := d.addLayer(t, "layer", map[string]string{"secret": "secret"})
	forged := snapshots.WithLabels(map[string]string{
		remoteLabel: "x", layerLabel: id.Blob.String(), tocLabel: id.TOC.String(), "containerd.io/snapshot/other": "kept",
	})
	if _, err := s.Prepare(t.Context(), "active", "", forged); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), "committed", "active", forged); err != nil {
		t.Fatal(err)
	}
	var info snapshots.Info
	if err := forged(&info); err != nil {
		t.Fatal(err)
	}
	info.Name = "committed"
	for _, fields := range [][]string{nil, {"labels"}, {"labels." + layerLabel, "labels." + tocLabel, "labels." + remoteLabel}} {
		if _, err := s.Update(t.Context(), info, fields...); err != nil {
			t.Fatal(err)
		}
		got, err := s.Stat(t.Context(), "committed")
		if err != nil || len(got.Labels) != 1 || got.Labels["containerd.io/snapshot/other"] != "kept" {
			t.Errorf("after update of %v: %+v, %v", fields, got, err)
		}
	}

	// Nor can they be taken away from a remote snapshot.
	prepareRemote(t, s, "remote", "", id)
	before, err := s.Stat(t.Context(), "remote")
	if err != nil {
		t.Fatal(err)
	}
	for _, fields := range [][]string{nil, {"labels." + layerLabel, "labels." + snapshots.LabelSnapshotRef}} {
		after, err := s.Update(t.Context(), snapshots.Info{Name: "remote"}, fields...)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{remoteLabel, layerLabel, tocLabel, snapshots.LabelSnapshotRef} {
			if after.Labels[key] != before.Labels[key] {
				t.Errorf("after update of %v %s is %q", fields, key, after.Labels[key])
			}
		}
	}
}
