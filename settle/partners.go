package settle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/hardlink"
)

// partners records which snapshots share inodes, or may.
//
// Partners are stored as groups: any two snapshots of a group are partners. The snapshots
// that share one inode are a group, and one more snapshot that shares the inode takes one
// entry more, in memory and on disk. A group is created only for pairs that are in no other
// group, with at most two entries for each such pair, and deleted when all its pairs are in
// other groups.
type partners struct {
	file string
	mu   struct {
		sync.Mutex
		db *bolt.DB // nil if there was no space to make it
		// assumed are snapshots that count as partners of each other, since what was
		// stored is gone. They are a group of db when that is made; nil then.
		assumed []uint64
		// groups has the members of each group, sorted, by its number; in has the
		// numbers of the groups of each member.
		//
		// INVARIANT: both are as in db, or have one group of assumed if db is nil,
		// but while a method that needs mu runs.
		groups map[uint64][]uint64
		in     map[uint64][]uint64
		exact  map[string]uint64 // by groupKey of members: a group of these and no others
		last   uint64            // the highest number that was given to a group
	}
}

// groupEntry says that a snapshot is in a group. On disk it is a key of bucketGroups: both
// numbers in 64 bits, big-endian. There is no value.
type groupEntry struct{ group, member uint64 }

// bucketGroups has the version of the format in its name.
var bucketGroups = []byte("groups 1")

// addLocked adds entries. They are on disk when it returns nil.
func (p *partners) addLocked(entries []groupEntry) error {
	if len(entries) == 0 {
		return nil
	}
	err := p.openDBLocked()
	if err == nil {
		err = p.mu.db.Update(func(tx *bolt.Tx) error { return putEntries(tx, entries) })
	}
	if err != nil {
		return fmt.Errorf("partners of snapshots: %w", err)
	}
	for _, e := range entries {
		p.enterLocked(e)
	}
	return nil
}

func putEntries(tx *bolt.Tx, entries []groupEntry) error {
	for _, e := range entries {
		if err := tx.Bucket(bucketGroups).Put(e.key(), nil); err != nil {
			return err
		}
	}
	return nil
}

// enterLocked adds an entry that is on disk to groups, in and exact.
func (p *partners) enterLocked(e groupEntry) {
	before := p.mu.groups[e.group]
	at, found := slices.BinarySearch(before, e.member)
	if found {
		return
	}
	if p.mu.exact[groupKey(before)] == e.group {
		delete(p.mu.exact, groupKey(before))
	}
	group := slices.Insert(before, at, e.member)
	p.mu.groups[e.group], p.mu.exact[groupKey(group)] = group, e.group
	p.mu.in[e.member] = append(p.mu.in[e.member], e.group)
	p.mu.last = max(p.mu.last, e.group)
}

// newGroupLocked returns the entries of a new group of members. The number of the group is
// not given again, also if the entries are not added.
func (p *partners) newGroupLocked(members ...uint64) (entries []groupEntry) {
	p.mu.last++
	for _, id := range members {
		entries = append(entries, groupEntry{p.mu.last, id})
	}
	return entries
}

func (e groupEntry) key() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e.group), e.member)
}

// groupKey returns a string that is equal for equal lists of members, which are sorted.
func groupKey(members []uint64) string {
	var k []byte
	for _, id := range members {
		k = binary.BigEndian.AppendUint64(k, id)
	}
	return string(k)
}

// addSettled makes a a partner of each of others, which share one inode and therefore are
// partners of each other already. The entries are on disk when it returns nil.
func (p *partners) addSettled(a uint64, others []uint64) error {
	others = slices.Sorted(slices.Values(others))
	p.mu.Lock()
	defer p.mu.Unlock()
	missing := p.missingLocked(a, others)
	if len(missing) == 0 {
		return nil
	}
	if group, ok := p.mu.exact[groupKey(others)]; ok {
		return p.addLocked([]groupEntry{{group, a}})
	}
	return p.addLocked(p.newGroupLocked(append(missing, a)...))
}

// missingLocked returns the snapshots in others, which is sorted, that are not partners of a.
// It begins with the group that a was added to last: a member settles file by file, and most
// of its files are equal to files of the same snapshots.
func (p *partners) missingLocked(a uint64, others []uint64) []uint64 {
	missing := slices.DeleteFunc(slices.Clone(others), func(id uint64) bool { return id == a })
	for _, group := range slices.Backward(p.mu.in[a]) {
		if len(missing) == 0 {
			break
		}
		missing = without(missing, p.mu.groups[group])
	}
	return missing
}

// addCopy makes the copy a a partner of the snapshots in c.From, and, unless c.Single is set,
// of the partners of these. The entries are on disk when it returns nil.
func (p *partners) addCopy(a uint64, c Copied) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var entries []groupEntry
	for _, id := range c.From.List() {
		if !c.Single {
			for _, group := range p.mu.in[id] {
				entries = append(entries, groupEntry{group, a})
			}
		}
		if (c.Single || len(p.mu.in[id]) == 0) && len(p.missingLocked(a, []uint64{id})) > 0 {
			entries = append(entries, p.newGroupLocked(id, a)...)
		}
	}
	return p.addLocked(slices.DeleteFunc(entries, func(e groupEntry) bool {
		_, found := slices.BinarySearch(p.mu.groups[e.group], e.member)
		return found
	}))
}

// of returns the partners of members, or of all snapshots if members are not known.
func (p *partners) of(members hardlink.Sources) hardlink.Sources {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := hardlink.Sources{}
	if !members.Known() {
		for a := range p.mu.in {
			all[a] = true
		}
		return all
	}
	foundBy := map[uint64]uint64{} // by group: the first of members that is in it
	for a := range members {
		for _, group := range p.mu.in[a] {
			if first, found := foundBy[group]; found {
				all[first] = true // it is a partner of a
				continue
			}
			foundBy[group] = a
			for _, b := range p.mu.groups[group] {
				if a != b {
					all[b] = true
				}
			}
		}
	}
	return all
}

// gone returns the snapshots that have partners and do not exist.
func (p *partners) gone(exist hardlink.Sources) hardlink.Sources {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := hardlink.Sources{}
	for id := range p.mu.in {
		if !exist.Has(id) {
			gone[id] = true
		}
	}
	return gone
}

// forget removes snapshots from all groups, and deletes the groups of which all remaining
// pairs are in other groups. After an error nothing is changed.
func (p *partners) forget(gone hardlink.Sources) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	touched := map[uint64]bool{} // groups
	for id := range gone {
		for _, group := range p.mu.in[id] {
			touched[group] = true
		}
	}
	if len(touched) == 0 {
		return nil
	}
	if err := p.openDBLocked(); err != nil {
		return fmt.Errorf("partners of snapshots: %w", err)
	}
	var drop []groupEntry
	for _, group := range slices.Sorted(maps.Keys(touched)) {
		drop = append(drop, p.removeLocked(group, gone)...)
	}
	for _, group := range slices.Sorted(maps.Keys(touched)) {
		if p.isCoveredLocked(group) {
			drop = append(drop, p.removeLocked(group, hardlink.SourcesOf(p.mu.groups[group]...))...)
		}
	}
	err := p.mu.db.Update(func(tx *bolt.Tx) error {
		for _, e := range drop {
			if err := tx.Bucket(bucketGroups).Delete(e.key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("partners of snapshots: %w", err)
	}
	return errors.Join(err, p.loadLocked())
}

// removeLocked removes members from a group in memory, and returns the entries to delete on
// disk.
func (p *partners) removeLocked(group uint64, members hardlink.Sources) (entries []groupEntry) {
	var left []uint64
	for _, id := range p.mu.groups[group] {
		if !members[id] {
			left = append(left, id)
			continue
		}
		entries = append(entries, groupEntry{group, id})
		p.mu.in[id] = slices.DeleteFunc(p.mu.in[id], func(g uint64) bool { return g == group })
	}
	p.mu.groups[group] = left
	return entries
}

// isCoveredLocked reports whether each pair of members of a group is in another group as
// well. A group of one member has no pairs.
func (p *partners) isCoveredLocked(group uint64) bool {
	members := p.mu.groups[group]
	for i, a := range members {
		missing := slices.Clone(members[i+1:])
		for _, other := range p.mu.in[a] {
			if other == group || len(missing) == 0 {
				continue
			}
			missing = without(missing, p.mu.groups[other])
		}
		if len(missing) > 0 {
			return false
		}
	}
	return true
}

// without returns the elements of some that are not in sorted. It overwrites some.
func without(some, sorted []uint64) []uint64 {
	return slices.DeleteFunc(some, func(id uint64) bool {
		_, found := slices.BinarySearch(sorted, id)
		return found
	})
}
