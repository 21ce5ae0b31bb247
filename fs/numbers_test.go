package fs

import (
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// Inode numbers of trees are not those of an upper directory on ext4, nor those
// of another tree in the same stack.
func TestNumbersOfTreesAreTheirOwn(t *testing.T) {
	lowest := imageOptions(store.Spec{Kind: store.Lowest}, nil, 1).FirstNID
	if lowest < 1<<31 || lowest >= 1<<32 {
		t.Errorf("those of a lowest tree begin at %d", lowest)
	}
	for _, number := range []uint64{0, 1, numberRanges - 1} {
		one := imageOptions(store.Spec{}, nil, number).FirstNID
		next := imageOptions(store.Spec{}, nil, number+1).FirstNID
		if one < 1<<32 || next < 1<<32 || one == next {
			t.Errorf("those of trees %d and %d begin at %d and %d", number, number+1, one, next)
		}
	}
}
