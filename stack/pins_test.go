package stack

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/store"
)

// claims counts claims of all layers.
type claims struct{ atomic.Int64 }

func (c *claims) Claim(store.ID)   { c.Add(1) }
func (c *claims) Unclaim(store.ID) { c.Add(-1) }

// A removal that waits for Exclude finds that a call has pinned what it found before, and
// a call that begins after the removal does not find it.
func TestExclude(t *testing.T) {
	for range 200 {
		p := Planner{endpoint{opts: Options{Pins: NewPins(&claims{})}}}
		var removed atomic.Bool // as the metadata says
		var group sync.WaitGroup
		begun := make(chan struct{})
		var inUse bool
		group.Go(func() {
			<-begun
			removed.Store(true)
			done := p.opts.Pins.Exclude()
			defer done()
			inUse = p.opts.Pins.Has(5)
		})
		found := false
		_, err := p.Begin(func(c *Call) error {
			found = !removed.Load()
			close(begun)
			for !removed.Load() {
				runtime.Gosched()
			}
			time.Sleep(100 * time.Microsecond) // the removal could be through by then
			if found {
				c.Pin(chainOf(5))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		group.Wait()
		if found && !inUse {
			t.Fatal("a removal did not see what a call had pinned")
		}
	}
}

// What a call has pinned is unpinned if the call cannot begin.
func TestBeginFails(t *testing.T) {
	c := &claims{}
	p := Planner{endpoint{opts: Options{Pins: NewPins(c)}}}
	failed := errors.New("not found")
	_, err := p.Begin(func(call *Call) error {
		call.PinPair(PairOf(chainOf("a"), chainOf("a", 5)))
		call.Pin(Chain{{ID: 6, Stack: &Stack{Lowers: []Lower{{Diff: "7-8", Of: hardlink.SourcesOf(hardlink.Unknown)}}}}})
		for _, id := range []uint64{5, 6} {
			if !p.opts.Pins.Has(id) {
				t.Errorf("%d is not pinned", id)
			}
		}
		for _, name := range []string{"1097-5", "1097-5a", "7-8"} {
			if !p.opts.Pins.hasDiff(name) {
				t.Errorf("%s is not pinned", name)
			}
		}
		if c.Load() == 0 || !p.opts.Pins.MayHave(9) {
			t.Errorf("%d layers are claimed", c.Load())
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Error(err)
	}
	if c.Load() != 0 || len(p.opts.Pins.mu.snapshots) > 0 || len(p.opts.Pins.mu.diffs) > 0 {
		t.Errorf("left are %d claims and %+v", c.Load(), p.opts.Pins.mu.snapshots)
	}
}
