package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/sametree"
	"github.com/ladle-dev/ladle/test/stack"
)

// kills is how often TestImportIsKilled kills the daemon: LADLE_KILLS, or 3.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("LADLE_KILLS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestImportIsKilled kills the daemon at random points of pulls of an image with layers of all
// forms, until a pull is through.
// Then the image has the tree and the bytes that it has on overlayfs, and the store takes what
// it takes after a pull that nobody disturbed; and nothing when the image is removed.
func TestImportIsKilled(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", "[import]\nkeep_indexes = 0\n")) // each pull imports all layers
	k := &killed{lab: l, ref: l.push(l.allForms()), store: filepath.Join(l.Node.Daemon("ladle").Root, "store"), began: time.Now()}
	ctx, c := l.client()
	k.ctx, k.snapshotter = ctx, c.SnapshotService("ladle")
	l.Pull("overlayfs", k.ref)
	k.want = l.list("overlayfs", k.ref)
	l.Ctr("images", "rm", "--sync", k.ref)
	l.Link.SetProfile(link.Profile{RTT: time.Millisecond, Bandwidth: 20e6})
	began := time.Now()
	l.Pull("ladle", k.ref)
	took := time.Since(began)
	k.listed()
	k.clean = allocated(t, k.store)
	k.remove()
	k.empty = allocated(t, k.store)

	seed := uint64(time.Now().UnixNano())
	t.Logf("a pull takes %v; the seed is %d", took, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pulls := 0
	for left := kills(t); left > 0; {
		if k.pull(time.Duration(random.Int64N(int64(took)))) {
			left--
			continue
		}
		pulls++
		k.through()
	}
	l.Pull("ladle", k.ref)
	k.through()
	t.Logf("%d kills, %d pulls went through before the daemon was killed", kills(t), pulls)
}

// allForms is busybox with a layer of each form, and one with a sparse file.
func (l lab) allForms() *image.Image {
	l.Helper()
	like := l.image("busybox", image.Gzip)
	lowest, err := layerOf(like, 0)
	if err != nil {
		l.Fatal(err)
	}
	layers := []mutate.Addendum{lowest}
	for n := range len(packings) + 1 {
		noise := make([]byte, 600_000)
		rand.NewChaCha8([32]byte{byte(n)}).Read(noise)
		tarball := l.tarOf(fmt.Sprintf("/noise%d", n), string(noise))
		if n == len(packings) {
			tarball = l.sparse()
		}
		p, err := packings[n%len(packings)](tarball)
		if err != nil {
			l.Fatal(err)
		}
		layers = append(layers, mutate.Addendum{Layer: p, MediaType: p.mediaType})
	}
	img, err := assemble(like, layers...)
	if err != nil {
		l.Fatal(err)
	}
	return &image.Image{Name: "all-forms", Format: image.Gzip, Image: img}
}

// killed is the lab of TestImportIsKilled.
type killed struct {
	lab
	ctx          context.Context // of calls of snapshotter
	snapshotter  snapshots.Snapshotter
	ref, store   string
	began        time.Time
	want         sametree.Listing // of overlayfs
	clean, empty int64            // bytes that the store takes with the image, and without
}

// pull pulls, and kills the daemon after some time, unless the pull is through before.
func (k *killed) pull(after time.Duration) (was bool) {
	k.Helper()
	done := make(chan error, 1)
	go func() { done <- k.Node.Pull(k.Context(), "ladle", k.ref) }()
	select {
	case err := <-done:
		if err != nil {
			k.Fatalf("a pull that nobody disturbs: %v", err)
		}
		return false
	case <-time.After(after):
	}
	k.Node.Daemon("ladle").Kill()
	<-done // with an error, or it was through
	k.again()
	// What is being removed is there, too.
	wait(k, "the drafts to be gone", func() bool { return len(k.drafts("ladle")) == 0 })
	return true
}

// again starts the daemon again.
func (k *killed) again() {
	k.Helper()
	if err := k.Node.Daemon("ladle").Start(k.Context()); err != nil {
		k.Fatal(err)
	}
	// containerd dials anew after a pause only. What is removed here makes it clean up.
	wait(k, "containerd reaches the daemon", func() bool {
		_, err := k.snapshotter.Prepare(k.ctx, "reached", "")
		return err == nil || errdefs.IsAlreadyExists(err)
	})
	if err := k.snapshotter.Remove(k.ctx, "reached"); err != nil {
		k.Fatal(err)
	}
}

// through checks what a pull that is through has made, and removes it.
func (k *killed) through() {
	k.Helper()
	k.listed()
	if got := allocated(k, k.store); got > k.clean+k.clean/100 || got < k.clean-k.clean/100 {
		k.Errorf("the store takes %d bytes; without a kill it takes %d", got, k.clean)
	}
	if n := k.partial("ladle"); n > 0 {
		k.Errorf("%d bytes are kept of layers that are stored", n)
	}
	k.remove()
	if got := allocated(k, k.store); got > k.empty+64<<10 {
		k.Errorf("without an image the store takes %d bytes; at first it took %d", got, k.empty)
	}
}

// listed compares the image's tree, and the digests of its files, with overlayfs.
func (k *killed) listed() {
	k.Helper()
	k.same(k.began, k.want, k.list("ladle", k.ref))
}

// remove removes the image, and waits until nothing of it is left.
func (k *killed) remove() {
	k.Helper()
	k.Ctr("images", "rm", "--sync", k.ref)
	// What was imported just now is still open. A process that has ended has nothing open.
	k.Node.Daemon("ladle").Kill()
	k.again()
	k.collect()
	for dir, want := range map[string][]string{"layers": nil, "trees": nil, "tmp": nil, "../e/main/snapshots": {"d"}} {
		wait(k, dir+" to be empty", func() bool { return slices.Equal(subdirs(k, k.store, dir), want) })
	}
}
