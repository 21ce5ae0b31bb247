package tree_test

import (
	"math/rand/v2"
	"testing"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// BenchmarkDiff has 100,000 inodes on each side.
func BenchmarkDiff(b *testing.B) {
	layer := func(seed uint64, inodes int) *tree.Inode {
		return treetest.Random(rand.New(rand.NewPCG(seed, 0)), treetest.Shape{Inodes: inodes, MaxXattr: 20})
	}
	base, above := layer(1, 100_000), layer(2, 1000)
	lower, upper := tree.Merge(base), tree.Merge(base, above)
	for name, lower := range map[string]*tree.Inode{"adjacent": lower, "from nothing": tree.Merge()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				tree.Diff(lower, upper, sameData)
			}
		})
	}
	b.Run("merge", func(b *testing.B) {
		for b.Loop() {
			tree.Merge(base, above)
		}
	})
}
