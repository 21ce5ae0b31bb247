package snapshot

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/metastore"
)

// plugged is a filesystem in a file, which can lose its power: what is in the file
// then is what had been written to the disk.
type plugged struct {
	testing.TB
	image, at string
}

func newPlugged(t testing.TB, kind string, options string) *plugged {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ladle-snapshot-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &plugged{t, filepath.Join(dir, "image"), filepath.Join(dir, "mnt")}
	must(t, os.Mkdir(p.at, 0o700))
	must(t, os.WriteFile(p.image, nil, 0o600))
	must(t, os.Truncate(p.image, 600<<20))
	p.run("mkfs."+kind, "-q", p.image)
	p.run("mount", "-o", "loop,"+options, p.image, p.at)
	t.Cleanup(func() { _ = unix.Unmount(p.at, unix.MNT_DETACH) })
	return p
}

func (p *plugged) run(name string, args ...string) {
	p.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		p.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// pull keeps what is on the disk now.
func (p *plugged) pull() {
	p.Helper()
	p.run("cp", "--sparse=always", p.image, p.image+".pulled")
}

// plugIn mounts what was on the disk when the plug was pulled.
func (p *plugged) plugIn() {
	p.Helper()
	p.run("umount", p.at)
	p.run("mount", "-o", "loop", p.image+".pulled", p.at)
}

// The directories of snapshots are on disk before the metadata that names them is: after
// a reset of the machine each snapshot that there is has what it had.
func TestDirectoriesAfterAReset(t *testing.T) {
	for kind, options := range map[string]string{"ext4": "commit=300", "xfs": "logbsize=32k", "btrfs": "commit=300"} {
		t.Run(kind, func(t *testing.T) {
			p := newPlugged(t, kind, options)
			opts := Options{Root: filepath.Join(p.at, "e", "ladle"), Name: "reset", Layers: newDisk(t), Settling: Settling{Settle: true}}
			opts.Trees = opts.Layers.(*disk)
			s, err := New(t.Context(), opts)
			must(t, err)
			l := &settled{Snapshotter: s, t: t}
			must(t, s.meta.Sync(t.Context()))
			l.commit("base", "", "base/file")
			l.commit("one", "base", "one/file")
			l.commit("two", "base", "two/file")
			l.commit("three", "two", "three/file")
			mustMerge(t, s, "merged", "one", "base three")
			l.copy("copied", "one", "three", "/two:/to")
			mustPrepare(t, s, "active", "merged")
			must(t, s.meta.Sync(t.Context()))
			want := madeNames(t, s)
			p.pull()
			must(t, s.Remove(t.Context(), "active"))
			must(t, s.Close())
			p.plugIn()
			must(t, os.WriteFile(filepath.Join(opts.Root, metastore.StateFile), []byte("another boot\n"), 0o600))
			s, err = New(t.Context(), opts)
			must(t, err)
			infos, ids, err := listIDs(t.Context(), s.meta)
			must(t, err)
			var names []string
			for _, info := range infos {
				names = append(names, info.Name)
				if _, err := os.Lstat(s.upper(ids[info.Name])); err != nil {
					t.Errorf("snapshot %s: %v", info.Name, err)
				}
				st, err := stackOf(info)
				must(t, err)
				if st == nil {
					continue
				}
				for _, lower := range st.LowersOf(uint64(ids[info.Name])) {
					if _, err := os.Lstat(s.dirs.Lower(lower)); err != nil {
						t.Errorf("in the stack of %s: %v", info.Name, err)
					}
				}
			}
			if got := madeNames(t, s); !slices.Equal(got, want) {
				t.Errorf("made directories have %q, want %q", got, want)
			}
			if slices.Sort(names); len(names) != 7 {
				t.Errorf("snapshots after the reset: %v", names)
			}
			for _, info := range infos {
				if info.Kind == snapshots.KindActive {
					must(t, s.Remove(t.Context(), info.Name))
				}
			}
			must(t, s.Close())
		})
	}
}

// madeNames returns the paths of all that was made of links.
func madeNames(t *testing.T, s *Snapshotter) (paths []string) {
	t.Helper()
	for _, dir := range []string{s.dirs.Diff(""), s.upper(idOfKey(t, s, "copied"))} {
		must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				paths = append(paths, path)
			}
			return err
		}))
	}
	if len(paths) < 3 {
		t.Errorf("made are %q", paths)
	}
	return paths
}
