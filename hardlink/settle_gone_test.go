package hardlink

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// vanishing deletes a member at one of the calls that settling makes, as a
// clean-up of removed snapshots may do at any moment.
type vanishing struct {
	*members
	calls int    // until it is deleted
	id    uint64 // which is deleted
}

func (v *vanishing) step() {
	if v.calls--; v.calls == 0 {
		os.RemoveAll(v.Dir(v.id))
	}
}

func (v *vanishing) Free(uint64) bool { v.step(); return true }

func (v *vanishing) Apart(a, b uint64) bool { v.step(); return v.members.Apart(a, b) }

func (v *vanishing) Pair(a uint64, others []uint64) error {
	v.step()
	return v.members.Pair(a, others)
}

func (v *vanishing) Hold(do func() error) error { v.step(); return do() }

// A member, the one that settles or the one that has the equal files, can be
// deleted at any moment. The other one stays what it was.
func TestSettleMemberVanishes(t *testing.T) {
	for name, gone := range map[string]uint64{"the equal one": 1, "the settling one": 2} {
		t.Run(name, func(t *testing.T) {
			for calls, last := 1, false; !last; calls++ {
				b := &bed{TB: t, members: newMembers(t, onDisk(t))}
				v := &vanishing{members: b.members, id: gone}
				pool, err := OpenPool(filepath.Join(b.root, "pool"), PoolOptions{Members: v, Link: true})
				must(t, err)
				b.write(1, "x", "same")
				b.write(1, "other", "other")
				for _, path := range []string{"a", "b", "c/d"} {
					b.write(2, path, "same")
				}
				b.write(2, "c/other", "other")
				_, err = pool.Settle(t.Context(), 1)
				must(t, err)
				before := [...][]string{nil, b.listing(1), b.listing(2)}
				v.calls = calls
				_, err = pool.Settle(t.Context(), 2)
				if err != nil && (gone == 1 || !errors.Is(err, fs.ErrNotExist)) {
					t.Errorf("gone at call %d: %v", calls, err)
				}
				last = v.calls > 0
				if !last || gone == 1 {
					b.unchanged(3-gone, before[3-gone])
				}
				_, err = pool.Settle(t.Context(), 3-gone)
				must(t, err)
				must(t, pool.Close())
				if calls > 100 {
					t.Fatal("settling never ends")
				}
			}
		})
	}
}
