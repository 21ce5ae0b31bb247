package snapshot

import (
	"encoding/binary"
	"fmt"
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
// disk, when another one comes to share the inode. There are at most twice as many
// entries as pairs of partners.
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
		members := p.mu.groups[group]
		missing = slices.DeleteFunc(missing, func(id uint64) bool {
			_, there := slices.BinarySearch(members, id)
			return there
		})
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
	add := func(a uint64) {
		for _, group := range p.mu.in[a] {
			for _, b := range p.mu.groups[group] {
				if a != b {
					all[b] = true
				}
			}
		}
	}
	if members.known() {
		for a := range members {
			add(a)
		}
		return all
	}
	for a := range p.mu.in {
		all[a] = true
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

// forget takes snapshots out of all groups. A group of one is none.
func (p *partners) forget(gone sources) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	touched := sources{}
	for id := range gone {
		touched = touched.and(sourcesOf(p.mu.in[id]...))
	}
	if len(touched) == 0 {
		return nil
	}
	var drop []groupEntry
	for _, group := range touched.list() {
		left := 0
		for _, id := range p.mu.groups[group] {
			if !gone[id] {
				left++
			}
		}
		for _, id := range p.mu.groups[group] {
			if gone[id] || left < 2 {
				drop = append(drop, groupEntry{group, id})
			}
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
		return fmt.Errorf("partners of snapshots: %w", err)
	}
	return p.loadLocked()
}
