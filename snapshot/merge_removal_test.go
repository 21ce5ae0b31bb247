package snapshot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/stack"
)

// Merges are made of lazy layers while the snapshots of these are removed, and layers
// without claims dropped: each merge is whole or refused.
func TestMergeOfLazyLayersBesideRemoval(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, func(o *Options) { o.Drop = d.drop })
	commitFiles(t, s, "base", "", map[string]string{"base": "b"})
	for round := range 30 {
		name := fmt.Sprint("layer", round)
		id := d.addLayer(t, name, map[string]string{name: name})
		prepareRemote(t, s, name, "", id)
		var group sync.WaitGroup
		var prepared error
		merged := fmt.Sprint("merged", round)
		group.Go(func() { _, prepared = s.Prepare(t.Context(), merged, "base", asMerge(" "+name)) })
		group.Go(func() {
			if err := errors.Join(s.Remove(t.Context(), name), s.Cleanup(t.Context())); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		if errdefs.IsNotFound(prepared) {
			continue
		}
		must(t, prepared)
		if !d.has(id) || !isClaimed(s, id) {
			t.Errorf("a layer of %s was dropped", merged)
		}
		mounts, err := s.Mounts(t.Context(), merged)
		must(t, err)
		wantFiles(t, merged, mounts, map[string]string{name: name, "base": "b"})
		must(t, s.Remove(t.Context(), merged))
	}
}

// A merge was planned over a parent. If another snapshot has the name of the parent by the
// time that the merge is made, it is not made.
func TestMergeOverReplacedParent(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "parent", "", map[string]string{"f": "old"})
	var chain stack.Chain
	must(t, s.meta.WithTransaction(t.Context(), false, func(ctx context.Context) (err error) {
		chain, err = readChain(ctx, "parent")
		return err
	}))
	m := making{kind: snapshots.KindActive, key: "merge", parent: "parent", chain: chain, stack: &stack.Stack{}}
	_, err := s.create(t.Context(), m)
	must(t, err)
	must(t, s.Remove(t.Context(), "merge"))
	must(t, s.Remove(t.Context(), "parent"))
	commitFiles(t, s, "parent", "", map[string]string{"f": "new"})
	if _, err := s.create(t.Context(), m); !errdefs.IsUnavailable(err) {
		t.Errorf("made over a parent that it was not planned over: %v", err)
	}
	if _, err := s.Stat(t.Context(), "merge"); !errdefs.IsNotFound(err) {
		t.Errorf("a merge that was not made is there: %v", err)
	}
}

// A snapshot is removed between being found by a merge and being pinned: its layer remains
// claimed.
func TestRemovalBesideReading(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, func(o *Options) { o.Drop = d.drop })
	for round := range 10 {
		name := fmt.Sprint("layer", round)
		id := d.addLayer(t, name, map[string]string{name: name})
		prepareRemote(t, s, name, "", id)
		removed := make(chan error, 1)
		call, err := s.planner.Begin(func(call *stack.Call) error {
			chain, err := s.readMerge(t.Context(), making{parent: name}, nil)
			if err != nil {
				return err
			}
			go func() { removed <- s.Remove(t.Context(), name) }()
			for err == nil {
				_, err = s.Stat(t.Context(), name)
			}
			time.Sleep(time.Millisecond) // the removal could be through by then
			if err := s.opts.Claims.Collect(t.Context(), d.drop); err != nil {
				return err
			}
			call.Pin(chain.Parent)
			return nil
		})
		must(t, err)
		must(t, <-removed)
		must(t, s.Cleanup(t.Context()))
		if !d.has(id) {
			t.Fatal("the layer of a snapshot that a merge has found was dropped")
		}
		call.End(t.Context())
		must(t, s.Cleanup(t.Context()))
		if d.has(id) {
			t.Fatal("the layer remains claimed")
		}
	}
}
