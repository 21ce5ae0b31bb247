package stack

import (
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/ladle-dev/ladle/hardlink"
)

// cleanDiff is the clean diff of a pair (package merge), as a merge stacks it.
type cleanDiff struct {
	lower     Lower
	whiteouts bool // it has whiteouts, or may have
	empty     bool // the sides of the pair do not differ: lower is not set
	// attributed are its directories with extended attributes (package merge). They are
	// not set for trees that are made from indexes.
	attributed []string
}

// diffs is a cache of the clean diffs that were found. What is not in it can be found on
// disk: a layer, or a directory that was made.
type diffs struct {
	mu struct {
		sync.Mutex
		found map[diffName]cleanDiff
		// apart are the directories on disk of diffs that are apart, with the snapshots
		// of which they have inodes.
		//
		// INVARIANT: it has every such directory that a call may stack.
		apart map[diffName]hardlink.Sources
		last  uint64 // the last number that next returned
	}
}

func (d *diffs) init() {
	d.mu.found, d.mu.apart = map[diffName]cleanDiff{}, map[diffName]hardlink.Sources{}
}

// next returns a number that no call had before: it names what is made for one call. So
// the name of a directory that a sweep has found to be of no call is not made anew.
func (d *diffs) next() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.last++
	return d.mu.last
}

// skip excludes the number in name, which an earlier process may have made, from next.
func (d *diffs) skip(name string) {
	n, err := strconv.ParseUint(strings.TrimLeft(name, copyPrefix+squashPrefix+skeletonPrefix), 10, 32)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.last = max(d.mu.last, n)
}

func (d *diffs) get(name diffName) (cleanDiff, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	diff, ok := d.mu.found[name]
	return diff, ok
}

func (d *diffs) put(name diffName, diff cleanDiff) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.found[name] = diff
}

// drop removes every diff for which stray(name) is true.
func (d *diffs) drop(stray func(diffName) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.mu.found, func(name diffName, _ cleanDiff) bool { return stray(name) })
	maps.DeleteFunc(d.mu.apart, func(name diffName, _ hardlink.Sources) bool { return stray(name) })
}

// putApart adds a directory of a diff that is apart, with inodes of the snapshots of.
func (d *diffs) putApart(name diffName, of hardlink.Sources) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.apart[name] = of
}

// anyApart reports whether the directory of a diff that is apart has inodes of one of
// snapshots.
func (d *diffs) anyApart(snapshots hardlink.Sources) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, of := range d.mu.apart {
		if of.Meets(snapshots) {
			return true
		}
	}
	return false
}
