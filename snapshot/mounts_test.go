package snapshot

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// TestMounts makes chains of remote (r) and local (l) layers and compares the
// mounts over them with what clients expect, then mounts them.
func TestMounts(t *testing.T) {
	for _, test := range []struct {
		chain        string   // the lowest first
		active, view []string // lowerdirs, the topmost first: a local's upper directory by its place in the chain, or a tree by the places of its layers, with nothing below if they begin with the first
	}{
		{chain: ""},
		{chain: "l", active: []string{"l0"}, view: []string{"l0"}},
		{chain: "r", active: []string{"r0"}, view: []string{"r0"}},
		{chain: "rr", active: []string{"r01"}, view: []string{"r1", "r0"}},
		{chain: "rrl", active: []string{"l2", "r01"}, view: []string{"l2", "r1", "r0"}},
		{chain: "rrlrl", active: []string{"l4", "r3", "l2", "r01"}, view: []string{"l4", "r3", "l2", "r1", "r0"}},
		{chain: "lrr", active: []string{"r2", "r1", "l0"}, view: []string{"r2", "r1", "l0"}},
	} {
		t.Run("chain "+test.chain, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d)
			c := makeChain(t, d, s, test.chain)

			active, err := s.Prepare(t.Context(), "active", c.top)
			if err != nil {
				t.Fatal(err)
			}
			id := c.id(t, "active")
			want := mount.Mount{Type: "bind", Source: s.upper(id), Options: []string{"rw", "rbind"}}
			if len(test.active) > 0 {
				want = mount.Mount{Type: "overlay", Source: "overlay", Options: append([]string{
					"workdir=" + s.work(id), "upperdir=" + s.upper(id), "lowerdir=" + c.lowerdirs(t, test.active),
				}, s.options...)}
				if strings.Contains(test.chain, "r") {
					want.Options = append(want.Options, "xino=on")
				}
			}
			checkMounts(t, active, want)
			if active[len(active)-1].ReadOnly() {
				t.Error("the mount of an active snapshot looks read-only")
			}

			view, err := s.View(t.Context(), "view", c.top)
			if err != nil {
				t.Fatal(err)
			}
			switch len(test.view) {
			case 0:
				want = mount.Mount{Type: "bind", Source: s.upper(c.id(t, "view")), Options: []string{"ro", "rbind"}}
			case 1:
				want = mount.Mount{Type: "bind", Source: c.lowerdirs(t, test.view), Options: []string{"ro", "rbind"}}
			default:
				want = mount.Mount{Type: "overlay", Source: "overlay", Options: append([]string{
					"lowerdir=" + c.lowerdirs(t, test.view),
				}, s.options...)}
			}
			checkMounts(t, view, want)

			for key, first := range map[string][]mount.Mount{"active": active, "view": view} {
				again, err := s.Mounts(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				checkMounts(t, again, first...)
				if got := files(t, first); !maps.Equal(got, c.files) {
					t.Errorf("%s shows %v, want %v", key, got, c.files)
				}
			}
		})
	}
}

// testChain is a chain of layers, each with a file "all" and one of its own,
// and a whiteout of the own file of the layer below.
type testChain struct {
	disk  *disk
	s     *Snapshotter
	kinds string
	names []string
	top   string            // name of the topmost; empty for no layers
	files map[string]string // what is to be seen
}

func makeChain(t *testing.T, d *disk, s *Snapshotter, kinds string) *testChain {
	t.Helper()
	c := &testChain{disk: d, s: s, kinds: kinds, files: map[string]string{}}
	for i, kind := range kinds {
		name := string(kind) + string(rune('0'+i))
		own := map[string]string{"all": name, "own-" + name: name}
		if i > 0 {
			own["own-"+c.names[i-1]] = ""
			delete(c.files, "own-"+c.names[i-1])
		}
		for path, content := range own {
			if content != "" {
				c.files[path] = content
			}
		}
		if kind == 'r' {
			prepareRemote(t, s, name, c.top, d.addLayer(t, name, own))
		} else {
			commitFiles(t, s, name, c.top, own)
		}
		c.names, c.top = append(c.names, name), name
	}
	return c
}

// commitFiles makes a local committed snapshot; an empty value removes a file.
func commitFiles(t testing.TB, s snapshots.Snapshotter, name, parent string, files map[string]string) {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), name+"-active", parent)
	if err != nil {
		t.Fatal(err)
	}
	withMounted(t, mounts, func(dir string) {
		for path, content := range files {
			path = filepath.Join(dir, path)
			if content == "" {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, []byte(content), 0o644)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.Commit(t.Context(), name, name+"-active"); err != nil {
		t.Fatal(err)
	}
}

func (c *testChain) id(t *testing.T, key string) number {
	t.Helper()
	return idOfKey(t, c.s, key)
}

// lowerdirs turns the short form of a test table into an option.
func (c *testChain) lowerdirs(t *testing.T, lowers []string) string {
	var dirs []string
	for _, l := range lowers {
		if l[0] == 'l' {
			dirs = append(dirs, c.s.upper(c.id(t, l)))
			continue
		}
		var over []int
		for _, digit := range l[1:] {
			over = append(over, int(digit-'0'))
		}
		dirs = append(dirs, c.tree(over...))
	}
	return strings.Join(dirs, ":")
}

func (c *testChain) tree(places ...int) string {
	spec := store.Spec{Layers: idsOf(c.names, places)}
	if places[0] == 0 {
		spec.Kind = store.Lowest
	}
	return filepath.Join(string(c.s.dirs), stack.TreesName, filepath.Base(c.disk.tree(spec)))
}

func checkMounts(t *testing.T, got []mount.Mount, want ...mount.Mount) {
	t.Helper()
	equal := func(a, b mount.Mount) bool {
		return a.Type == b.Type && a.Source == b.Source && a.Target == b.Target && slices.Equal(a.Options, b.Options)
	}
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("mounts\n  %v, want\n  %v", got, want)
	}
}

// A differ takes what the view of a child has and the view of its parent has
// not for the difference between them.
func TestViewsOfAChainDifferByOneLayer(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	c := makeChain(t, d, s, "rrlr")
	var below []string
	for i, name := range c.names {
		mounts, err := s.View(t.Context(), "view-"+name, name)
		if err != nil {
			t.Fatal(err)
		}
		layers := viewLayers(t, mounts)
		if len(layers) != i+1 || !slices.Equal(layers[1:], below) {
			t.Errorf("view of %s has layers %v, its parent's has %v", name, layers, below)
		}
		below = layers
	}
}

// viewLayers returns the layers of a view, the topmost first, and accepts only
// what BuildKit's GetOverlayLayers accepts.
func viewLayers(t *testing.T, mounts []mount.Mount) []string {
	t.Helper()
	if len(mounts) != 1 {
		t.Fatalf("%d mounts", len(mounts))
	}
	if mounts[0].Type == "bind" {
		return []string{mounts[0].Source}
	}
	var layers []string
	for _, o := range mounts[0].Options {
		switch dirs, isLower := strings.CutPrefix(o, "lowerdir="); {
		case isLower:
			layers = strings.Split(dirs, ":")
		case o == "index=off" || o == "userxattr":
		default:
			t.Errorf("option %s", o)
		}
	}
	return layers
}

func TestRootKeepsOwnerOfParent(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	id := d.addLayer(t, "owned", map[string]string{"f": "f"})
	if err := os.Chown(d.dir(id), 1234, 5678); err != nil {
		t.Fatal(err)
	}
	prepareRemote(t, s, "remote", "", id)
	commitLocal(t, s, "local", "remote")
	for _, parent := range []string{"remote", "local"} {
		mounts, err := s.Prepare(t.Context(), "active-"+parent, parent)
		if err != nil {
			t.Fatal(err)
		}
		withMounted(t, mounts, func(dir string) {
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			st := info.Sys().(*syscall.Stat_t)
			if st.Uid != 1234 || st.Gid != 5678 || info.Mode().Perm() != 0o755 {
				t.Errorf("root over %s: %d:%d %v, want 1234:5678 and 0755", parent, st.Uid, st.Gid, info.Mode())
			}
		})
	}
}

func TestMountsOfWhatCannotBeMounted(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitLocal(t, s, "committed", "")
	if _, err := s.Mounts(t.Context(), "committed"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("committed: %v", err)
	}
	if _, err := s.Mounts(t.Context(), "nothing"); !errdefs.IsNotFound(err) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := s.Prepare(t.Context(), "key", "nothing"); !errdefs.IsNotFound(err) {
		t.Errorf("prepare over nothing: %v", err)
	}
}

// A chain of many local layers over many remote ones fits into the page that
// mount(2) takes, through containerd's way of mounting.
func TestLongChain(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, func(o *Options) { o.Root = filepath.Join(d.root, "e", "an-endpoint-with-a-name-of-32-chr") })
	const remote, local = 60, 300
	top := ""
	for i := range remote {
		name := fmt.Sprint("r", i)
		top = prepareRemote(t, s, name, top, d.addLayer(t, name, map[string]string{name: name}))
	}
	for i := range local {
		top = commitUpper(t, s, fmt.Sprint("l", i), top)
	}
	view, err := s.View(t.Context(), "view", top)
	if err != nil {
		t.Fatal(err)
	}
	active, err := s.Prepare(t.Context(), "active", top)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(viewLayers(t, view)); n != remote+local {
		t.Errorf("%d layers, want %d", n, remote+local)
	}
	for _, mounts := range [][]mount.Mount{view, active} {
		if n := len(files(t, mounts)); n != remote+local {
			t.Errorf("%d files, want %d", n, remote+local)
		}
	}
}

// commitUpper makes a local committed snapshot with one file of its name,
// which it writes into the upper directory.
func commitUpper(t *testing.T, s *Snapshotter, name, parent string) string {
	t.Helper()
	if _, err := s.Prepare(t.Context(), name+"-active", parent); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.upper(idOfKey(t, s, name+"-active")), name), []byte(name), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), name, name+"-active"); err != nil {
		t.Fatal(err)
	}
	return name
}
