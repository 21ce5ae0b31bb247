package stack

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
)

// Call is one call in progress that makes a merge or a copy: what it has pinned, mounted,
// locked and made. It is not used concurrently.
type Call struct {
	*endpoint
	number string // no other call has it
	pinned pinned
	ending []func() // called by End, the last one first
}

// Begin returns a Call for which the snapshots are pinned that find passes to Call.Pin and
// Call.PinPair. find reads them from the metadata, in one transaction. Snapshots that are
// removed meanwhile remain usable until Call.End.
func (p *Planner) Begin(find func(*Call) error) (*Call, error) {
	c := &Call{endpoint: &p.endpoint, number: strconv.FormatUint(p.diffs.next(), 10)}
	p.opts.Pins.reading.RLock()
	defer p.opts.Pins.reading.RUnlock()
	if err := find(c); err != nil {
		p.opts.Pins.remove(&c.pinned)
		return nil, err
	}
	return c, nil
}

// Pin pins what views and active snapshots over chain show.
func (c *Call) Pin(chain Chain) { c.opts.Pins.add(&c.pinned, chain.View()) }

// PinPair pins the snapshots of a pair, and the directory of its clean diff.
func (c *Call) PinPair(p Pair) {
	c.opts.Pins.add(&c.pinned, p.sides.lower)
	c.opts.Pins.add(&c.pinned, p.sides.upper)
	for _, apart := range []bool{false, true} {
		c.opts.Pins.addDiffs(&c.pinned, p.nameOf(apart).String())
	}
}

// End unpins, unmounts and unlocks what the call has pinned, mounted and locked. A directory
// that it has made and that no snapshot has by now is deleted, here or by the next sweep.
func (c *Call) End(ctx context.Context) {
	for _, end := range slices.Backward(c.ending) {
		end()
	}
	c.opts.Trees.Release(context.WithoutCancel(ctx), c.name())
	c.opts.Pins.remove(&c.pinned)
}

// name is what Trees calls c.
func (c *Call) name() string { return "call-" + c.number }

// dirs returns the directories of lowers, in their order. Trees are mounted for c.
func (c *Call) dirs(ctx context.Context, lowers []Lower) (dirs []string, err error) {
	for _, l := range lowers {
		dir := c.opts.Dirs.Lower(l)
		if l.IsTree() {
			if dir, err = c.opts.Trees.Mount(ctx, c.name(), l.Tree); err != nil {
				return nil, err
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// make makes the directory name of diff among the clean diffs, and stores with it of which
// snapshots it has inodes, which are returned. The diff was found in dirs, which are the
// directories of lowers, in the same order.
func (e *endpoint) make(ctx context.Context, name string, diff *merge.Diff, lowers []Lower, dirs []string) (hardlink.Sources, error) {
	of := hardlink.Sources{}
	for _, from := range diff.From {
		linked := hardlink.SourcesOf(hardlink.Unknown)
		if i := slices.Index(dirs, from); i >= 0 {
			linked = lowers[i].Sources()
		}
		of = of.With(linked)
	}
	if of.Known() {
		diff.Of = append([]uint64{}, of.List()...)
	}
	_, err := diff.Make(ctx, e.opts.Dirs.Diff(name))
	return of, err
}

// makePart makes a directory for the merge of c alone. It is among the clean diffs until the
// snapshot is made: see Dirs.Adopt.
func (c *Call) makePart(ctx context.Context, prefix string, diff *merge.Diff, lowers []Lower, dirs []string) (Lower, error) {
	name, err := c.newName(prefix)
	if err != nil {
		return Lower{}, err
	}
	of, err := c.make(ctx, name, diff, lowers, dirs)
	return Lower{Part: name, Of: of}, err
}

// newName returns a name that no directory among the clean diffs has, and pins it.
func (c *Call) newName(prefix string) (string, error) {
	name := fmt.Sprint(prefix, c.diffs.next())
	c.opts.Pins.addDiffs(&c.pinned, name)
	return name, os.RemoveAll(c.opts.Dirs.Diff(name)) // an earlier process may have left it
}
