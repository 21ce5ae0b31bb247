package snapshot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	overlayfs "github.com/containerd/containerd/v2/plugins/snapshots/overlay"

	"github.com/ladle-dev/ladle/idmap"
)

// Ranges that clients give two containers.
const (
	onePod   = "0:100000:65536"
	otherPod = "0:300000:65536"
)

// owned are files and directories of a layer: a value is an owner, which is the content of a
// file, too. Names of directories end in a slash.
type owned map[string]string

func (o owned) write(t testing.TB, dir string) {
	t.Helper()
	for name, owner := range o {
		path := filepath.Join(dir, name)
		parent := path
		if !strings.HasSuffix(name, "/") {
			parent = filepath.Dir(path)
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		if parent != path {
			if err := os.WriteFile(path, []byte(owner), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("chown", owner, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// The layers of an image, the lowest first.
var ownedLayers = []owned{
	{"./": "7:8", "etc/passwd": "0:0", "home/": "0:0", "home/user/": "1000:100", "home/user/f": "1000:100", "far": "70000:0", "gone": "3:4"},
	{"./": "7:8", "bin/sh": "0:5", "home/user/": "1000:100", "home/user/g": "1000:100", "replaced": "1:1"},
	{"./": "7:8", "lib/": "2:2", "lib/f": "0:0", "replaced": "9:9"},
}

// commitOwned commits a local snapshot with the files of a layer.
func commitOwned(t testing.TB, s snapshots.Snapshotter, name, parent string, files owned) string {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), name+"-active", parent)
	if err != nil {
		t.Fatal(err)
	}
	withMounted(t, mounts, func(dir string) { files.write(t, dir) })
	if err := s.Commit(t.Context(), name, name+"-active"); err != nil {
		t.Fatal(err)
	}
	return name
}

// images are chains of ownedLayers: each layer is remote or local.
var images = map[string][]bool{
	"lazy":  {true, true, true},
	"local": {false, false, false},
	"mixed": {true, false, true},
	"upper": {true, true, false},
}

// commitImage makes the chain of ownedLayers in an endpoint over d.
func commitImage(t testing.TB, s snapshots.Snapshotter, d *disk, name string, remote []bool) (top string) {
	t.Helper()
	for i, files := range ownedLayers {
		layer := name + "-" + string(rune('a'+i))
		if !remote[i] {
			top = commitOwned(t, s, layer, top, files)
			continue
		}
		id := d.addLayer(t, layer, nil)
		files.write(t, d.dir(id))
		top = prepareRemote(t, s, layer, top, id)
	}
	return top
}

// inContainer runs a shell script in the directory dir as root of a user namespace.
func inContainer(t testing.TB, dir, mapping, script string) string {
	t.Helper()
	ids, err := idmap.Parse(mapping, mapping)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o711|os.ModeSticky); err != nil && filepath.Dir(dir) != os.TempDir() {
		t.Fatal(err)
	}
	sys := func(ranges []idmap.Range) (all []syscall.SysProcIDMap) {
		for _, r := range ranges {
			all = append(all, syscall.SysProcIDMap{ContainerID: int(r.Container), HostID: int(r.Host), Size: int(r.Size)})
		}
		return all
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: sys(ids.Users), GidMappings: sys(ids.Groups),
		Credential: &syscall.Credential{NoSetGroups: true},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// outside lists what is in dir as the host sees it.
func outside(t testing.TB, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", `find . -printf '%U:%G %m %y %P\n' | sort; find . -type f | sort | xargs cat`)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// changes is what a container does to the image of ownedLayers.
const changes = `
	find . -printf '%U:%G %m %y %P\n' | sort
	cat etc/passwd home/user/f home/user/g replaced
	echo more >> etc/passwd
	chown 5:6 bin/sh
	chown 11 home/user
	chmod 600 lib/f
	rm gone
	echo new > new
	mkdir dir
	mv home/user/g dir/
	rm -r lib && mkdir lib
	touch -h far 2>/dev/null && echo touched || echo refused
	find . -printf '%U:%G %m %y %P\n' | sort`

// ran is what a container in a user namespace shows, and leaves.
type ran struct{ before, inside, outside, upper string }

func run(t *testing.T, mounts []mount.Mount, upper, mapping string) (r ran) {
	t.Helper()
	withMounted(t, mounts, func(dir string) {
		r.before = outside(t, dir)
		r.inside = inContainer(t, dir, mapping, changes)
		r.outside = outside(t, dir)
	})
	r.upper = outside(t, upper)
	return r
}

func sameText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nand with overlayfs:\n%s", what, got, want)
	}
}

// newOverlayfs returns containerd's own snapshotter, on a kernel that can map owners.
func newOverlayfs(t *testing.T) (s snapshots.Snapshotter, upper func(key string) string) {
	t.Helper()
	dir := tempDir(t)
	meta, err := storage.NewMetaStore(filepath.Join(dir, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err = overlayfs.NewSnapshotter(filepath.Join(dir, "o"), overlayfs.WithRemapIDs, overlayfs.WithMetaStore(meta))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, func(key string) string {
		var id string
		err := meta.WithTransaction(context.WithoutCancel(t.Context()), false, func(ctx context.Context) (err error) {
			id, _, _, err = storage.GetInfo(ctx, key)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "o", "snapshots", id, "fs")
	}
}

// TestMappedEqualsOverlayfs: a container in a user namespace sees the owners that it sees with
// overlayfs, and so does the host; what it changes is the same on disk; and so are snapshots
// that are committed from it, in a user namespace and without.
func TestMappedEqualsOverlayfs(t *testing.T) {
	oracle, oracleUpper := newOverlayfs(t)
	top := ""
	for i, files := range ownedLayers {
		top = commitOwned(t, oracle, string(rune('a'+i)), top, files)
	}
	prepare := func(t *testing.T, s snapshots.Snapshotter, key, parent string, opts ...snapshots.Opt) []mount.Mount {
		t.Helper()
		mounts, err := s.Prepare(t.Context(), key, parent, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return mounts
	}
	// shown is what a snapshotter shows of an image to a container, and of its changes.
	shown := func(t *testing.T, s snapshots.Snapshotter, top string, upper func(string) string) (r ran, plain, again string) {
		r = run(t, prepare(t, s, "container", top, mappingLabels(onePod)), upper("container"), onePod)
		if err := s.Commit(t.Context(), "committed", "container"); err != nil {
			t.Fatal(err)
		}
		withMounted(t, prepare(t, s, "plain", "committed"), func(dir string) { plain = outside(t, dir) })
		withMounted(t, prepare(t, s, "again", "committed", mappingLabels(onePod)), func(dir string) {
			again = inContainer(t, dir, onePod, `find . -printf '%U:%G %m %y %P\n' | sort`)
		})
		return r, plain, again
	}
	want, wantPlain, wantAgain := shown(t, oracle, top, oracleUpper)
	if !strings.Contains(want.inside, "1000:100 644 f home/user/f") || !strings.Contains(want.outside, "100005:100006 644 f bin/sh") {
		t.Fatalf("overlayfs does not map owners: %+v", want)
	}
	for name, remote := range images {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d)
			got, plain, again := shown(t, s, commitImage(t, s, d, name, remote), func(key string) string { return s.upper(idOfKey(t, s, key)) })
			sameText(t, "the host sees", got.before, want.before)
			sameText(t, "the container sees", got.inside, want.inside)
			sameText(t, "the host sees after it", got.outside, want.outside)
			sameText(t, "the upper directory", got.upper, want.upper)
			sameText(t, "committed, the host sees", plain, wantPlain)
			sameText(t, "committed, another container sees", again, wantAgain)
		})
	}
}
