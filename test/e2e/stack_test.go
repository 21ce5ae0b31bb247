package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	godigest "github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// drivers are all values of the key driver but auto.
var drivers = []string{"erofs", "loop", "fuse"}

// onlyDemand lets nothing be fetched but what somebody reads.
const onlyDemand = "noprefetch = true\nno_background_fetch = true\n"

// lab is a stack with what these tests ask of it.
type lab struct {
	*stacktest.T
	space string // containerd's namespace; "" is that of ctr
}

// in is l in a namespace of containerd.
func (l lab) in(space string) lab { return lab{l.T, space} }

func newLab(t *testing.T, daemons ...stack.Daemon) lab {
	t.Helper()
	return lab{T: stacktest.New(t, stack.Options{Daemons: daemons})}
}

// oneOfEach is a daemon for each driver, registered as ladle-DRIVER.
func oneOfEach(config string) []stack.Daemon {
	var all []stack.Daemon
	for _, driver := range drivers {
		all = append(all, stack.Ladle("ladle-"+driver, fmt.Sprintf("driver = %q\n%s", driver, config)))
	}
	return all
}

// wait polls until done, for at most a minute.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// listing is a container's flags and arguments to list its root filesystem. It
// has CAP_SYS_ADMIN, without which attributes of the class trusted are hidden.
func listing() (flags, args []string) {
	return []string{"--cap-add", "CAP_SYS_ADMIN", "--mount", "type=bind,src=" + listtree + ",dst=/dev/listtree,options=rbind:ro"},
		[]string{"/dev/listtree", "-since", strconv.FormatInt(time.Now().UnixNano(), 10)}
}

// list runs a container that lists its root filesystem from inside.
func (l lab) list(snapshotter, ref string) sametree.Listing {
	l.Helper()
	began := time.Now()
	flags, args := listing()
	out, err := l.Node.Run(l.Context(), stack.Container{Snapshotter: snapshotter, Ref: ref, Flags: flags, Args: args})
	if err != nil {
		l.Fatal(err)
	}
	return l.parse(fmt.Sprintf("%s on %s", ref, snapshotter), began, out)
}

// parse reads what a listing printed that began at some time. That something
// cannot be read fails the test.
func (l lab) parse(what string, began time.Time, out string) sametree.Listing {
	l.Helper()
	listing, err := sametree.Parse(out)
	if err != nil {
		l.Fatal(err)
	}
	if failed := listing.Failures(); len(failed) > 0 {
		l.Errorf("%s: %d paths cannot be read:\n%s", what, len(failed), strings.Join(failed[:min(20, len(failed))], "\n"))
	}
	l.Logf("%s: %s, in %.1f s", what, listing.Counts(), time.Since(began).Seconds())
	return listing
}

// push puts an image that a test made in the registry.
func (l lab) push(img *image.Image) (ref string) {
	l.Helper()
	to, err := l.Registry.Push(l.Context(), img)
	if err != nil {
		l.Fatal(err)
	}
	return l.Link.Addr() + "/" + to
}

// client connects to containerd. What is made with the context is kept from
// garbage collection until the test ends.
func (l lab) client() (context.Context, *client.Client) {
	l.Helper()
	c, err := client.New(l.Node.Address, client.WithTimeout(30*time.Second))
	if err != nil {
		l.Fatal(err)
	}
	ctx, done, err := c.WithLease(namespaces.WithNamespace(l.Context(), cmp.Or(l.space, "default")))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := errors.Join(done(context.WithoutCancel(ctx)), c.Close()); err != nil {
			l.Error(err)
		}
	})
	return ctx, c
}

// as is l, failing another test: a subtest.
func (l lab) as(t *testing.T) lab { return lab{&stacktest.T{Stack: l.Stack, TB: t}, l.space} }

// fetched returns those layers of an image that containerd has fetched.
func (l lab) fetched(img *image.Image) []string {
	l.Helper()
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	var blobs []godigest.Digest
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			l.Fatal(err)
		}
		blobs = append(blobs, godigest.Digest(digest.String()))
	}
	return l.stored(blobs...)
}

// stored returns those blobs that containerd has fetched.
func (l lab) stored(blobs ...godigest.Digest) (there []string) {
	l.Helper()
	ctx, c := l.client()
	for _, digest := range blobs {
		_, err := c.ContentStore().Info(ctx, digest)
		if err == nil {
			there = append(there, digest.String())
		} else if !errdefs.IsNotFound(err) {
			l.Fatal(err)
		}
	}
	return there
}

// snapshots returns what containerd has of a snapshotter.
func (l lab) snapshots(snapshotter string) []snapshots.Info {
	l.Helper()
	ctx, c := l.client()
	var all []snapshots.Info
	err := c.SnapshotService(snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		all = append(all, info)
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	return all
}
