package hardlink

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// Where extents can be shared, equal bytes are stored once whatever the
// attributes, and nothing that can be seen of a file changes: also of one that
// is in use.
func TestSettleSharesExtents(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			at := newFilesystem(t, kind, 600<<20)
			b := newBed(t, at)
			if !b.pool.Shares() {
				t.Fatal("extents are not shared")
			}
			content := make([]byte, 20<<20+123)
			_, _ = rand.NewChaCha8([32]byte{}).Read(content)
			one := b.write(1, "one", string(content))
			two := b.write(2, "two", string(content))
			must(t, unix.Chmod(two, 0o4755))
			setXattr(t, two, "user.x", "1")
			b.write(2, "etc/short", "short")
			b.write(1, "etc/short", "short")
			other := b.write(2, "other", string(content[1:])+"x")
			b.used[1], b.used[2] = true, true
			b.together[[2]uint64{1, 2}] = true
			before1, before2 := b.listing(1), b.listing(2)
			stat1, stat2 := stat(t, one), stat(t, two)
			used := usedBytes(t, at)
			b.settle(1)
			r := b.settle(2)
			if r.Shared.Bytes < int64(len(content)) || r.Linked.Files != 0 {
				t.Errorf("reached %+v", r)
			}
			b.unchanged(1, before1)
			b.unchanged(2, before2)
			if stat(t, one) != stat1 || stat(t, two) != stat2 {
				t.Errorf("attributes changed: %+v, were %+v", stat(t, two), stat2)
			}
			if freed := used - usedBytes(t, at); freed < 18<<20 || freed > 22<<20 {
				t.Errorf("%d bytes were freed", freed)
			}
			must(t, os.WriteFile(two, []byte("changed"), 0))
			if b.unchanged(1, before1); stat(t, other).Size != int64(len(content)) {
				t.Error("another file changed")
			}
		})
	}
}

func stat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	st, err := tree.Lstat(path)
	must(t, err)
	return *st
}

func usedBytes(t testing.TB, path string) int64 {
	t.Helper()
	run(t, "sync", "-f", path)
	var st unix.Statfs_t
	must(t, unix.Statfs(path, &st))
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// killed is set in a process that settles a bed until it is killed.
const killed = "LADLE_TEST_SETTLE"

// A process that is killed at any time leaves members that look as before, once
// the next process has opened the pool.
func TestSettleKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	root := os.Getenv(killed)
	if root != "" {
		b := newBed(t, root)
		b.settle(1)
		b.settle(2)
		return
	}
	b := newBed(t, onDisk(t))
	for round := range 8 {
		for id := uint64(1); id <= 2; id++ {
			must(t, os.RemoveAll(b.Dir(id)))
			for _, path := range manyPaths() {
				b.write(id, path, "content of "+path)
			}
		}
		before1, before2 := b.listing(1), b.listing(2)
		must(t, b.pool.Close())
		cmd := exec.Command(os.Args[0], "-test.run=^TestSettleKilled$")
		cmd.Env = append(os.Environ(), killed+"="+b.root)
		must(t, cmd.Start())
		for deadline := time.Now().Add(20 * time.Second); len(common(b)) <= round*30 && time.Now().Before(deadline); {
			time.Sleep(100 * time.Microsecond)
		}
		must(t, cmd.Process.Signal(syscall.SIGKILL))
		_ = cmd.Wait()
		part := len(common(b))
		b.open()
		b.unchanged(1, before1)
		b.unchanged(2, before2)
		b.settle(1)
		b.settle(2)
		b.unchanged(2, before2)
		t.Logf("%d of %d files were linked when it was killed", part, len(manyPaths()))
		if got := len(common(b)); got != len(manyPaths()) {
			t.Errorf("%d files are linked, want all", got)
		}
	}
}

func manyPaths() (paths []string) {
	for i := range 400 {
		paths = append(paths, fmt.Sprintf("%02d/%d", i%20, i))
	}
	return paths
}

// common are the paths that members 1 and 2 share.
func common(b *bed) []string {
	b.Helper()
	return slices.DeleteFunc(manyPaths(), func(path string) bool {
		return !sameInode(b, filepath.Join(b.Dir(1), path), filepath.Join(b.Dir(2), path))
	})
}
