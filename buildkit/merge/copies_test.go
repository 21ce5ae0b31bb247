package merge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	copier "github.com/tonistiigi/fsutil/copy"

	"github.com/ladle-dev/ladle/merge"
)

// TestCopiesAsBuildKit makes the same random layers and copies between them in
// both worlds: with BuildKit's copier, and by links. What a copy shows must be
// the same, and its source must stay what it was.
func TestCopiesAsBuildKit(t *testing.T) {
	made, left := 0, 0
	for seed := *seed0; seed < *seed0+*seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := copies{graph: graph{
				t: t, ctx: inSpace(t), r: rand.New(rand.NewPCG(seed, 5)),
				oracle: newOracle(t), ladle: newLadle(t, true), parents: map[string]string{}, recent: true,
			}}
			c.grow()
			made, left = made+c.made, left+c.left
		})
	}
	t.Logf("%d copies were made of links, and %d left to the client", made, left)
	if !t.Failed() && *seeds >= 20 && made < left/4 {
		t.Error("too few to show anything")
	}
}

// copies is snapshots that are copied from.
type copies struct {
	graph
	made, left int // by ladle; to the client
}

func (c *copies) grow() {
	for i := range 24 {
		key := fmt.Sprint("s", i)
		switch n := c.r.IntN(8); {
		case i < 4 || n == 0:
			c.layer(key)
		case n == 1:
			if !c.merge(key) {
				continue
			}
		default:
			if !c.copy(key) {
				continue
			}
		}
		c.keys = append(c.keys, key)
		if c.t.Failed() {
			return
		}
	}
	for _, key := range c.keys {
		c.compare(key, nil) // what was written above it has not reached it
	}
}

// copy makes one copy, if BuildKit can.
func (c *copies) copy(key string) bool {
	r := merge.CopyRequest{From: c.any(), Source: c.place(), Target: c.place()}
	parent := ""
	if c.r.IntN(4) > 0 {
		parent = c.any()
	}
	if c.r.IntN(3) == 0 && r.Target != "/" {
		r.Target += "/"
	}
	if err := c.oracle.copies(c.ctx, key, parent, r); err != nil {
		if asked := c.ladle.link(c.ctx, key, parent, r); !errdefs.IsNotImplemented(asked) {
			c.t.Errorf("%s: BuildKit cannot make %+v over %q: %v; ladle says %v", key, r, parent, err, asked)
		}
		return false
	}
	err := c.ladle.link(c.ctx, key, parent, r)
	switch {
	case err == nil:
		c.made++
	case errdefs.IsNotImplemented(err):
		c.left++
		err = c.ladle.copies(c.ctx, key, parent, r)
	}
	if err != nil {
		c.t.Fatalf("%s: copy %+v over %q: %v", key, r, parent, err)
	}
	c.parents[key] = parent
	c.compare(key, nil)
	c.compare(r.From, nil)
	if c.t.Failed() {
		c.t.Logf("copy %+v over %q", r, parent)
	}
	return true
}

// place is one of few paths.
func (c *copies) place() string {
	if c.r.IntN(8) == 0 {
		return "/"
	}
	path := ""
	for range 1 + c.r.IntN(2) {
		path = filepath.Join(path, string(rune('a'+c.r.IntN(4))))
	}
	return "/" + path
}

// recent is a time that is not among those that change sets.
var recent = regexp.MustCompile(` (1[7-9]|[2-9]\d)\d{8}\.\d{9} rdev`)

// copies makes a snapshot by BuildKit's copier, with the options that it has for
// COPY --from (its solver/llbsolver/file, docopy).
func (w world) copies(ctx context.Context, key, parent string, r merge.CopyRequest) error {
	active := identity.NewID()
	mounts, err := w.Prepare(ctx, active, parent)
	if err != nil {
		return err
	}
	from, err := w.View(ctx, identity.NewID(), r.From)
	if err != nil {
		return err
	}
	err = mount.WithTempMount(ctx, from, func(source string) error {
		return mount.WithTempMount(ctx, mounts, func(target string) error {
			return copier.Copy(ctx, source, r.Source, target, r.Target, func(i *copier.CopyInfo) {
				i.CopyDirContents, i.FollowLinks = true, true
			}, copier.AllowXAttrErrors)
		})
	})
	if err != nil {
		return err
	}
	return w.Commit(ctx, key, active)
}

// link asks for a copy by labels.
func (w world) link(ctx context.Context, key, parent string, r merge.CopyRequest) error {
	active := identity.NewID()
	if _, err := w.Prepare(ctx, active, parent, snapshots.WithLabels(r.Labels())); err != nil {
		return err
	}
	return w.Commit(ctx, key, active)
}
