package settle

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Two members are apart if no chain shows both, whatever the chains are.
func TestCensus(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var all []Snapshot
			together, stored := map[[2]uint64]bool{}, map[uint64]bool{}
			shows := map[uint64]map[uint64]bool{0: {}}
			for id := uint64(1); id <= 30; id++ {
				s := Snapshot{ID: id, Parent: r.Uint64N(id)}
				if r.IntN(3) > 0 { // else it is lazy, or a merge with nothing written to it
					s.Dirs = append(s.Dirs, id)
				}
				if r.IntN(4) == 0 {
					s.Dirs = append(s.Dirs, 1+r.Uint64N(id), 1+r.Uint64N(id))
				}
				all = append(all, s)
				shows[id] = map[uint64]bool{}
				for member := range shows[s.Parent] {
					shows[id][member] = true
				}
				for _, member := range s.Dirs {
					shows[id][member], stored[member] = true, true
				}
				for a := range shows[id] {
					for b := range shows[id] {
						together[[2]uint64{a, b}] = true
					}
				}
			}
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			c := newCensus(all, 1)
			for a := range uint64(32) {
				for b := range uint64(32) {
					want := stored[a] && stored[b] && !together[[2]uint64{a, b}]
					if got := c.isApart(a, b); got != want {
						t.Errorf("%d and %d are apart: %v, want %v", a, b, got, want)
					}
				}
			}
		})
	}
}
