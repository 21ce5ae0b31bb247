package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// partners is which snapshots may share inodes: they settled, or one is a copy from
// the other. A view that showed two partners would show hard links that are in
// neither. Chains have no partners; merges can.
//
// They are kept as groups: any two snapshots of a group are partners. The snapshots
// that share one inode are a group, and it takes one entry more, in memory and on
// disk, when another one comes to share the inode. A group is made for a pair that no
// other has, with at most two entries for each of these, and dropped with the last
// such pair.
type partners struct {
	file string
	db   *bolt.DB // nil until there is something to keep
	mu   struct {
		sync.Mutex
		// groups are the members of each group, sorted, by its number, and in
		// are the groups of each member. Both are as on disk.
		groups map[uint64][]uint64
		in     map[uint64][]uint64
		// exact is a group that has these members and no other (groupKey).
		exact map[string]uint64
		last  uint64 // that a group was given as its number
	}
}

// groupEntry says that a snapshot is in a group. It is a key of bucketGroups, two
// big-endian numbers of 64 bits, with no value.
type groupEntry struct{ group, member uint64 }

// bucketGroups has the version of the format in its name.
var bucketGroups = []byte("groups 1")

// addLocked makes entries, on disk when it returns nil.
func (p *partners) addLocked(entries []groupEntry) error {
	if len(entries) == 0 {
		return nil
	}
	err := p.needLocked()
	if err == nil {
		err = p.db.Update(func(tx *bolt.Tx) error { return putEntries(tx, entries) })
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

// enterLocked notes an entry that is on disk.
func (p *partners) enterLocked(e groupEntry) {
	before := p.mu.groups[e.group]
	at, there := slices.BinarySearch(before, e.member)
	if there {
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

// newGroupLocked returns the entries of a group that is to be made. It takes its
// number before it is on disk: numbers can be left out.
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

// groupKey returns what two groups have in common that have the same members,
// which are sorted.
func groupKey(members []uint64) string {
	var k []byte
	for _, id := range members {
		k = binary.BigEndian.AppendUint64(k, id)
	}
	return string(k)
}

// settled makes a a partner of each of others, which share one inode: any two of
// them are partners. It is on disk when settled returns nil.
func (p *partners) settled(a uint64, others []uint64) error {
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

// missingLocked returns those of others, which are sorted, that are no partners of
// a. The group that a came into last is looked at first: a member settles file by
// file, and most of its files are those of the same others.
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

// copied makes a, which has links to files of each of from, a partner of these.
// Unless no file that was linked had another name (alone), it is also a partner of
// all partners of theirs. It is on disk when copied returns nil.
func (p *partners) copied(a uint64, from sources, alone bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var entries []groupEntry
	for _, id := range from.list() {
		if !alone {
			for _, group := range p.mu.in[id] {
				entries = append(entries, groupEntry{group, a})
			}
		}
		if (alone || len(p.mu.in[id]) == 0) && len(p.missingLocked(a, []uint64{id})) > 0 {
			entries = append(entries, p.newGroupLocked(id, a)...)
		}
	}
	return p.addLocked(slices.DeleteFunc(entries, func(e groupEntry) bool {
		_, there := slices.BinarySearch(p.mu.groups[e.group], e.member)
		return there
	}))
}

// of returns the partners of members. Those of members that are not known are all
// that have partners.
func (p *partners) of(members sources) sources {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := sources{}
	if !members.known() {
		for a := range p.mu.in {
			all[a] = true
		}
		return all
	}
	foundBy := map[uint64]uint64{} // groups, and the first of members in each
	for a := range members {
		for _, group := range p.mu.in[a] {
			if first, found := foundBy[group]; found {
				all[first] = true // it is a's partner
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

// any reports whether there are partners.
func (p *partners) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mu.groups) > 0
}

// gone returns those that have partners for which there is false.
func (p *partners) gone(there func(id uint64) bool) sources {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := sources{}
	for id := range p.mu.in {
		if !there(id) {
			gone[id] = true
		}
	}
	return gone
}

// forget takes snapshots out of all groups, and drops the groups of which nothing is
// left that others do not say. After an error nothing is forgotten.
func (p *partners) forget(gone sources) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	touched := sources{}
	for id := range gone {
		maps.Copy(touched, sourcesOf(p.mu.in[id]...))
	}
	if len(touched) == 0 {
		return nil
	}
	var drop []groupEntry
	for _, group := range touched.list() {
		drop = append(drop, p.leaveLocked(group, gone)...)
	}
	for _, group := range touched.list() {
		if p.isCoveredLocked(group) {
			drop = append(drop, p.leaveLocked(group, sourcesOf(p.mu.groups[group]...))...)
		}
	}
	err := p.db.Update(func(tx *bolt.Tx) error {
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

// leaveLocked takes members out of a group, in memory, and returns what that is on
// disk.
func (p *partners) leaveLocked(group uint64, members sources) (entries []groupEntry) {
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

// isCoveredLocked reports whether all members of a group are partners by other groups,
// too, as those of a group of one are.
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

// without takes those of some, which it changes, that are in sorted away.
func without(some, sorted []uint64) []uint64 {
	return slices.DeleteFunc(some, func(id uint64) bool {
		_, there := slices.BinarySearch(sorted, id)
		return there
	})
}
