package merge_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	buildkit "github.com/moby/buildkit/snapshot"
)

var (
	seeds = flag.Uint64("seeds", 40, "how many random graphs of snapshots")
	seed0 = flag.Uint64("seed", 1, "the first seed")
)

// TestAsBuildKit makes the same random layers, merges, layers over merges and
// merges of those in both worlds. What a merge shows must be the same.
func TestAsBuildKit(t *testing.T) {
	for seed := *seed0; seed < *seed0+*seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			g := graph{
				t: t, ctx: inSpace(t), r: rand.New(rand.NewPCG(seed, 4)),
				oracle: newOracle(t), ladle: newLadle(t, seed%2 == 0), parents: map[string]string{},
			}
			g.grow()
		})
	}
}

// graph is the snapshots that there are in both worlds.
type graph struct {
	t             *testing.T
	ctx           context.Context
	r             *rand.Rand
	oracle, ladle world
	keys          []string
	parents       map[string]string
	recent        bool // some times are of the test: they are not compared
}

func (g *graph) grow() {
	for i := range 12 {
		key := fmt.Sprint("s", i)
		if i < 4 || g.r.IntN(2) == 0 {
			g.layer(key)
		} else if !g.merge(key) {
			continue
		}
		g.keys = append(g.keys, key)
		if g.t.Failed() {
			return
		}
	}
}

func (g *graph) layer(key string) {
	parent, seed := "", g.r.Uint64()
	if len(g.keys) > 0 && g.r.IntN(3) > 0 {
		parent = g.any()
	}
	g.parents[key] = parent
	apply := func(root string) error { return change(root, seed) }
	g.oracle.commit(g.ctx, g.t, key, parent, apply)
	if g.r.IntN(3) == 0 {
		g.ladle.lazy(g.ctx, g.t, key, parent, g.oracle.own(g.ctx, g.t, key))
	} else {
		g.ladle.commit(g.ctx, g.t, key, parent, apply)
	}
	g.compare(key, nil)
}

func (g *graph) any() string { return g.keys[g.r.IntN(len(g.keys))] }

// merge makes one merge, if BuildKit can.
func (g *graph) merge(key string) bool {
	var diffs []buildkit.Diff
	for range 1 + g.r.IntN(4) {
		upper := g.any()
		switch g.r.IntN(6) {
		case 0:
			diffs = append(diffs, buildkit.Diff{Lower: g.any(), Upper: upper})
		case 1:
			diffs = append(diffs, buildkit.Diff{Upper: upper})
		case 2:
			diffs = append(diffs, buildkit.Diff{Lower: g.parents[upper], Upper: upper})
		default: // a whole snapshot, as BuildKit's cache has it
			diffs = append(diffs, g.flat(upper)...)
		}
	}
	if err := g.oracle.merge(g.ctx, key, diffs); err != nil {
		g.t.Logf("%s: BuildKit cannot merge %v: %v", key, diffs, err)
		return false
	}
	if err := g.ladle.merge(g.ctx, key, diffs); err != nil {
		g.t.Fatalf("%s: merge %v: %v", key, diffs, err)
	}
	g.compare(key, diffs)
	return true
}

func (g *graph) flat(key string) []buildkit.Diff {
	var diffs []buildkit.Diff
	if parent := g.parents[key]; parent != "" {
		diffs = g.flat(parent)
	}
	return append(diffs, buildkit.Diff{Lower: g.parents[key], Upper: key})
}

func (g *graph) compare(key string, diffs []buildkit.Diff) {
	g.t.Helper()
	var lines [2]map[string]string
	for i, w := range []world{g.oracle, g.ladle} {
		w.view(g.ctx, g.t, key, func(root string) (err error) {
			lines[i], err = shown(root, i == 0)
			return err
		})
		for path, line := range lines[i] {
			if g.recent {
				lines[i][path] = recent.ReplaceAllString(line, " now rdev")
			}
		}
	}
	if d := difference(lines[0], lines[1]); d != "" {
		g.t.Errorf("%s, merge %v, parents %v:%s", key, diffs, g.parents, d)
	}
}
