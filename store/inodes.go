package store

import (
	"cmp"
	"errors"
	"slices"
)

// Where the inode numbers of tree images lie. They are above those of upper
// directories, for programs that compare no more than numbers: BuildKit's copier
// takes files with several links for one file if their numbers are equal, on
// whatever filesystems they are (tonistiigi/fsutil copy/hardlink.go). ext4 has at
// most 1<<32 of them and in practice far less; xfs of more than some TiB, whose
// numbers are places on the disk, may have the same. They are below 1<<32, since
// 32-bit programs run that cannot read others (EOVERFLOW of stat), unless there
// is no room: those of 500 million inodes. An image of EROFS begins with a hole
// of 32 bytes for each number below its first; ext4 can hold 4 TiB of that.
const (
	leastInode = 1 << 31
	inodes32   = 1 << 32
	endInodes  = 1 << 37
	// inodeUnit is what ranges are multiples of: EROFS keeps so many inodes, at
	// most, in a block.
	inodeUnit = 128
)

// inodeRange is the inode numbers from First on that a tree image has to itself.
type inodeRange struct {
	First uint64 `json:"first"`
	Count uint64 `json:"count"`
}

func (r inodeRange) end() uint64 { return r.First + r.Count }

var errNoInodes = errors.New("no inode numbers are left")

// takeInodes finds a range for the tree image number that meets no other's, and
// is never empty: an image is told from others by it. It
// is taken for as long as the image is in s.mu.trees, or in s.mu.drafts. Numbers
// that were given back are not used again before all others were: a tree that is
// unmounted may live on below an overlay.
func (s *Store) takeInodes(number, count uint64) (inodeRange, error) {
	count = (max(count, 1) + inodeUnit - 1) / inodeUnit * inodeUnit
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []inodeRange
	for _, t := range s.mu.trees {
		taken = append(taken, t.inodes)
	}
	for _, r := range s.mu.drafts {
		taken = append(taken, r)
	}
	slices.SortFunc(taken, func(a, b inodeRange) int { return cmp.Compare(a.First, b.First) })
	for _, within := range []inodeRange{
		{s.mu.nextInode, inodes32 - s.mu.nextInode},
		{leastInode, inodes32 - leastInode},
		{inodes32, endInodes - inodes32},
	} {
		r := inodeRange{gapIn(taken, within, count), count}
		if r.end() > within.end() {
			continue
		}
		s.mu.drafts[number] = r
		if r.end() <= inodes32 {
			s.mu.nextInode = r.end()
		}
		return r, nil
	}
	return inodeRange{}, errNoInodes
}

// gapIn returns the first of count successive numbers, the lowest that are in no range of
// taken. It is not lower than the first number of within; the last may be higher than the
// last one of within. taken is sorted.
func gapIn(taken []inodeRange, within inodeRange, count uint64) uint64 {
	at := within.First
	for _, r := range taken {
		if r.First >= at+count {
			break
		}
		at = max(at, r.end())
	}
	return at
}

// giveInodes ends what takeInodes began for an image that is in s.mu.trees by
// now, or will not be.
func (s *Store) giveInodes(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.drafts, number)
}

// outdatedInodes returns the inode numbers of an image that an earlier version made, which
// wrote none to meta.json. It numbered images of kind Lowest from leastInode on, and all
// others from 1<<32 on.
func outdatedInodes(m treeMeta) inodeRange {
	first := uint64(inodes32)
	if m.Kind == Lowest {
		first = leastInode
	}
	end := uint64(m.Image.Size) / 32 // bytes of a slot, which EROFS counts
	return inodeRange{first, max(end, first) - first}
}
