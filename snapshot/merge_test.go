package snapshot

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// asMerge are the labels that ask for pairs, each written "lower upper".
func asMerge(pairs ...string) snapshots.Opt {
	var keys []merge.Keys
	for _, p := range pairs {
		lower, upper, _ := strings.Cut(p, " ")
		keys = append(keys, merge.Keys{Lower: lower, Upper: upper})
	}
	return snapshots.WithLabels(merge.Labels(keys))
}

// commitMerge makes a committed merge and returns its name.
func commitMerge(t testing.TB, s snapshots.Snapshotter, name, parent string, pairs ...string) string {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), "test")
	if _, err := s.Prepare(ctx, name+"-active", parent, asMerge(pairs...)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, name, name+"-active"); err != nil {
		t.Fatal(err)
	}
	return name
}

// viewOf returns the mounts of a view called view-NAME.
func viewOf(t testing.TB, s snapshots.Snapshotter, name string) []mount.Mount {
	t.Helper()
	return viewAs(t, s, "view-"+name, name)
}

func viewAs(t testing.TB, s snapshots.Snapshotter, key, name string) []mount.Mount {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), "test")
	mounts, err := s.View(ctx, key, name)
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

func wantFiles(t testing.TB, what string, mounts []mount.Mount, want map[string]string) {
	t.Helper()
	if got := files(t, mounts); !maps.Equal(got, want) {
		t.Errorf("%s shows %v, want %v", what, got, want)
	}
}

// A clean layer is stacked as it is, over a local parent.
func TestMergeStacksCleanLayers(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "base", "", map[string]string{"b": "base", "both": "base"})
	commitFiles(t, s, "copy", "", map[string]string{"c": "copy", "both": "copy"})
	commitMerge(t, s, "merged", "base", " copy")
	want := map[string]string{"b": "base", "c": "copy", "both": "copy"}

	view := viewOf(t, s, "merged")
	wantFiles(t, "view", view, want)
	upper := func(key string) string { return s.upper(idOfKey(t, s, key)) }
	if got := viewLayers(t, view); !slices.Equal(got, []string{upper("copy"), upper("base")}) {
		t.Errorf("view has %v", got)
	}
	commitFiles(t, s, "child", "merged", map[string]string{"b": "", "d": "child"})
	above := viewLayers(t, viewOf(t, s, "child"))
	if !slices.Equal(above[1:], viewLayers(t, view)) {
		t.Errorf("view of child has %v, of parent %v", above, viewLayers(t, view))
	}
	commitMerge(t, s, "again", "copy", "merged child")
	wantFiles(t, "merge of a child", viewOf(t, s, "again"), map[string]string{"c": "copy", "both": "copy", "d": "child"})
}

// A merge is written to before it is committed, through every way to an
// endpoint.
func TestMergeThroughClients(t *testing.T) {
	for way, reach := range clients {
		t.Run(way, func(t *testing.T) {
			s := newEndpoint(t, newDisk(t))
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
			ctx := namespaces.WithNamespace(t.Context(), "test")
			make := func(name, parent string, content map[string]string, opts ...snapshots.Opt) {
				t.Helper()
				mounts, err := client.Prepare(ctx, name+"-active", parent, opts...)
				if err != nil {
					t.Fatal(err)
				}
				withMounted(t, mounts, func(dir string) {
					for path, c := range content {
						if err := os.WriteFile(filepath.Join(dir, path), []byte(c), 0o644); err != nil {
							t.Error(err)
						}
					}
				})
				if err := client.Commit(ctx, name, name+"-active"); err != nil {
					t.Fatal(err)
				}
			}
			make("a", "", map[string]string{"a": "a"})
			make("b/with slash", "a", map[string]string{"b": "b"})
			make("merged", "", map[string]string{"w": "written"}, asMerge("a b/with slash"))
			info, err := client.Stat(ctx, "merged")
			if err != nil || info.Labels[merge.AnswerLabel] == "" || len(info.Labels) != 1 {
				t.Errorf("%+v, %v", info, err)
			}
			wantFiles(t, "merge", viewOf(t, client, "merged"), map[string]string{"b": "b", "w": "written"})
		})
	}
}

func TestMergeOfLazyLayers(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	c := makeChain(t, d, s, "rr")
	other := d.addLayer(t, "other", map[string]string{"o": "other", "all": "other"})
	over := d.addLayer(t, "over", map[string]string{"own-r1": "", "p": "over"})
	prepareRemote(t, s, "o0", "", other)
	prepareRemote(t, s, "o1", "o0", over)
	commitMerge(t, s, "merged", c.top, " o0", "o0 o1")
	layers := viewLayers(t, viewOf(t, s, "merged"))
	link := func(spec store.Spec) string {
		return filepath.Join(string(s.dirs), stack.TreesName, filepath.Base(d.tree(spec)))
	}
	want := []string{
		link(store.StackOf(
			store.Spec{Kind: store.Diff, Layers: []store.ID{other}},
			store.Spec{Kind: store.Diff, Layers: []store.ID{other, over}, Lower: []store.ID{other}},
		)),
		link(store.Spec{Layers: []store.ID{idOf("r1")}}),
		link(store.Spec{Kind: store.Lowest, Layers: []store.ID{idOf("r0")}}),
	}
	if len(layers) == len(want)+1 { // the upper directory, whose owner differs
		layers = layers[1:]
	}
	if !slices.Equal(layers, want) {
		t.Errorf("view has %v, want %v", layers, want)
	}
	wantFiles(t, "merge", viewAs(t, s, "again", "merged"), map[string]string{"own-r1": "r1", "all": "other", "o": "other", "p": "over"})

	// The whiteout of what the pair's lower has not is no part of it. Layers
	// stay claimed when their snapshots are gone.
	for _, key := range []string{"o1", "o0"} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []store.ID{other, over} {
		if !isClaimed(s, id) {
			t.Errorf("layer %v is not claimed", id)
		}
	}
	s = reopen(t, d, s)
	if !isClaimed(s, other) || !isClaimed(s, over) {
		t.Error("layers are not claimed after a restart")
	}
	for _, key := range []string{"view-merged", "again", "merged"} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if isClaimed(s, other) || isClaimed(s, over) {
		t.Error("layers are claimed by a merge that is gone")
	}
}

// A view of a merge never shows a whiteout, not even if it has one lower.
func TestMergeHidesWhiteouts(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "a", "", map[string]string{"gone": "g"})
	commitFiles(t, s, "b", "a", map[string]string{"gone": "", "new": "n"})
	commitMerge(t, s, "diff", "", "a b")
	view := viewOf(t, s, "diff")
	wantFiles(t, "diff", view, map[string]string{"new": "n"})
	commitFiles(t, s, "child", "diff", map[string]string{"c": "c"})
	above := viewOf(t, s, "child")
	wantFiles(t, "child", above, map[string]string{"new": "n", "c": "c"})
	if got := viewLayers(t, above); !slices.Equal(got[1:], viewLayers(t, view)) {
		t.Errorf("child %v, parent %v", got, viewLayers(t, view))
	}
	// One without whiteouts is a bind mount, as BuildKit expects of a
	// bottommost snapshot.
	commitMerge(t, s, "plain", "", " a")
	if view := viewOf(t, s, "plain"); view[0].Type != "bind" {
		t.Errorf("view %v", view)
	}
	// One of nothing at all is an ordinary empty snapshot.
	commitMerge(t, s, "empty", "", "a a", " ")
	wantFiles(t, "empty", viewOf(t, s, "empty"), map[string]string{})
}

// The same layer can be asked for twice, though no mount can have it twice.
func TestMergeOfOneLayerTwice(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "a", "", map[string]string{"f": "a", "g": "a"})
	commitFiles(t, s, "b", "", map[string]string{"f": "b", "h": "b"})
	want := map[string]string{"f": "a", "g": "a", "h": "b"}
	commitMerge(t, s, "aba", "", " a", " b", " a")
	wantFiles(t, "a, b, a", viewOf(t, s, "aba"), want)
	commitMerge(t, s, "over", "a", " b", " a")
	wantFiles(t, "b, a over a", viewOf(t, s, "over"), want)
	commitMerge(t, s, "twice", "aba", " b", " a")
	wantFiles(t, "b, a over that", viewOf(t, s, "twice"), want)
}

// The root of a merge is that of its parent, or a new one, whatever the layers
// in its stack have.
func TestMergeRoot(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "odd", "", map[string]string{"f": "f"})
	commitFiles(t, s, "owned", "", map[string]string{"g": "g"})
	upper := s.upper(idOfKey(t, s, "odd"))
	if err := errors.Join(os.Chown(upper, 7, 7), os.Chmod(upper, 0o700), os.Chown(s.upper(idOfKey(t, s, "owned")), 8, 8)); err != nil {
		t.Fatal(err)
	}
	for parent, owner := range map[string]uint32{"": 0, "owned": 8} {
		name := commitMerge(t, s, "on-"+parent, parent, " odd")
		withMounted(t, viewOf(t, s, name), func(dir string) {
			var st unix.Stat_t
			if err := unix.Stat(dir, &st); err != nil || st.Mode != unix.S_IFDIR|0o755 || st.Uid != owner || st.Gid != owner {
				t.Errorf("over %q: %o %d:%d, %v", parent, st.Mode, st.Uid, st.Gid, err)
			}
		})
	}
}
