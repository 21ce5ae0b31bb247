package hardlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

// The index of a pool is a cache in a bbolt database. Integers are big-endian. A name
// is a key of its own: to add a name costs the same for an inode with many names as for
// an inode with few.
//
//	files    inode → record without names
//	names    inode, member, path → nothing
//	content  contentKey, inode → nothing
//	members  member → 1 if it is settled, else 0
//	inodes   member, inode → nothing
//
// indexName contains the version of this format; oldIndexName is that of version 1.
const (
	indexName    = "index-2.db"
	oldIndexName = "index.db"
)

var buckets = [][]byte{bucketFiles, bucketNames, bucketContent, bucketMembers, bucketInodes}

var (
	bucketFiles   = []byte("files")
	bucketNames   = []byte("names")
	bucketContent = []byte("content")
	bucketMembers = []byte("members")
	bucketInodes  = []byte("inodes")
)

// index is a transaction on the index.
type index struct{ *bolt.Tx }

// update calls do in a writable transaction.
func (p *Pool) update(do func(index) error) error {
	if err := p.needIndex(); err != nil {
		return err
	}
	return p.db.Update(func(tx *bolt.Tx) error { return do(index{tx}) })
}

// view calls do in a read-only transaction.
func (p *Pool) view(do func(index) error) error {
	if err := p.needIndex(); err != nil {
		return err
	}
	return p.db.View(func(tx *bolt.Tx) error { return do(index{tx}) })
}

func (p *Pool) needIndex() (err error) {
	if p.db == nil {
		p.db, err = openIndex(p.indexFile(), indexTimeout)
	}
	return err
}

// indexTimeout bounds the wait for the lock of the index, which another process can have.
const indexTimeout = 10 * time.Second

// openIndex opens the database at path. A corrupt one is deleted and created again. After
// any other error, such as a timeout for the lock, the file is unchanged.
func openIndex(path string, timeout time.Duration) (*bolt.DB, error) {
	db, err := durable.OpenDB(path, timeout, buckets...)
	if !errors.Is(err, durable.ErrCorrupt) {
		return db, err
	}
	if err := os.RemoveAll(path); err != nil { // it can be a directory
		return nil, err
	}
	return durable.OpenDB(path, timeout, buckets...)
}

func key(numbers ...uint64) []byte {
	var k []byte
	for _, n := range numbers {
		k = binary.BigEndian.AppendUint64(k, n)
	}
	return k
}

// file returns the record of an inode, or nil if there is none.
func (x index) file(ino uint64) *record {
	r := parseRecord(x.Bucket(bucketFiles).Get(key(ino)))
	if r == nil {
		return nil
	}
	c := x.Bucket(bucketNames).Cursor()
	for k, _ := c.Seek(key(ino)); bytes.HasPrefix(k, key(ino)); k, _ = c.Next() {
		if len(k) > 16 {
			r.names = append(r.names, name{binary.BigEndian.Uint64(k[8:]), string(k[16:])})
		}
	}
	return r
}

// put replaces the record old of an inode, as returned by file, by r. A record without
// names is deleted.
func (x index) put(ino uint64, old, r *record) error {
	if old == nil {
		old = &record{}
	}
	if err := x.putNames(ino, old.names, r.names); err != nil {
		return err
	}
	if len(old.names) > 0 && (len(r.names) == 0 || old.content != r.content) {
		if err := x.Bucket(bucketContent).Delete(append(old.content[:], key(ino)...)); err != nil {
			return err
		}
	}
	if len(r.names) == 0 {
		return x.Bucket(bucketFiles).Delete(key(ino))
	}
	if err := x.Bucket(bucketContent).Put(append(r.content[:], key(ino)...), nil); err != nil {
		return err
	}
	return x.Bucket(bucketFiles).Put(key(ino), r.marshal())
}

// putNames updates the buckets names and inodes from the names old to the names now.
func (x index) putNames(ino uint64, old, now []name) error {
	had, has := map[name]bool{}, map[name]bool{}
	members := map[uint64]bool{}
	for _, n := range old {
		had[n] = true
	}
	for _, n := range now {
		has[n], members[n.member] = true, true
	}
	for _, n := range old {
		if has[n] {
			continue
		}
		if err := x.Bucket(bucketNames).Delete(n.key(ino)); err != nil {
			return err
		}
		if members[n.member] {
			continue
		}
		if err := x.Bucket(bucketInodes).Delete(key(n.member, ino)); err != nil {
			return err
		}
	}
	for _, n := range now {
		if had[n] {
			continue
		}
		if err := x.Bucket(bucketNames).Put(n.key(ino), nil); err != nil {
			return err
		}
		if err := x.Bucket(bucketInodes).Put(key(n.member, ino), nil); err != nil {
			return err
		}
	}
	return nil
}

func (n name) key(ino uint64) []byte { return append(key(ino, n.member), n.path...) }

func (x index) drop(ino uint64, old *record) error {
	if old == nil {
		return nil
	}
	return x.put(ino, old, &record{})
}

// equals yields the inodes that have a content key with the given prefix. If prefix is a
// whole key, it yields only inodes greater than last.
func (x index) equals(prefix []byte, last uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		c := x.Bucket(bucketContent).Cursor()
		from := prefix
		if len(prefix) == len(contentKey{}) {
			from = append(bytes.Clone(prefix), key(last+1)...)
		}
		for k, _ := c.Seek(from); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if !yield(binary.BigEndian.Uint64(k[len(contentKey{}):])) {
				return
			}
		}
	}
}

// members returns all members, and whether they are settled.
func (x index) members() map[uint64]bool {
	all := map[uint64]bool{}
	c := x.Bucket(bucketMembers).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		all[binary.BigEndian.Uint64(k)] = v[0] == 1
	}
	return all
}

func (x index) putMember(id uint64, settled bool) error {
	state := []byte{0}
	if settled {
		state[0] = 1
	}
	return x.Bucket(bucketMembers).Put(key(id), state)
}

// forget deletes a member, and its names, from the index.
func (x index) forget(id uint64) error {
	var inodes []uint64
	c := x.Bucket(bucketInodes).Cursor()
	for k, _ := c.Seek(key(id)); bytes.HasPrefix(k, key(id)); k, _ = c.Next() {
		inodes = append(inodes, binary.BigEndian.Uint64(k[8:]))
	}
	for _, ino := range inodes {
		old := x.file(ino)
		if err := x.put(ino, old, old.without(id)); err != nil {
			return err
		}
	}
	return x.Bucket(bucketMembers).Delete(key(id))
}
