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

// The index of a pool is a cache in a bbolt database. Integers are big-endian.
//
//	files    inode → record
//	content  contentKey, inode → nothing
//	members  member → 1 if it is settled, else 0
//	names    member, inode → nothing
var buckets = [][]byte{bucketFiles, bucketContent, bucketMembers, bucketNames}

var (
	bucketFiles   = []byte("files")
	bucketContent = []byte("content")
	bucketMembers = []byte("members")
	bucketNames   = []byte("names")
)

// index is the index within a transaction.
type index struct{ *bolt.Tx }

// update runs do in a transaction. Only the caller writes.
func (p *Pool) update(do func(index) error) error {
	if err := p.needIndex(); err != nil {
		return err
	}
	return p.db.Update(func(tx *bolt.Tx) error { return do(index{tx}) })
}

// view runs do in a transaction that does not write.
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

// indexTimeout is how long another process may hold the index.
const indexTimeout = 10 * time.Second

// openIndex opens the database at path. One that is corrupt is thrown away. After
// other errors, such as a lock that another process holds for longer than timeout,
// it is left as it is.
func openIndex(path string, timeout time.Duration) (*bolt.DB, error) {
	db, err := durable.OpenDB(path, timeout, buckets...)
	if !errors.Is(err, durable.ErrCorrupt) {
		return db, err
	}
	if err := os.Remove(path); err != nil {
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

// file returns the record of an inode, or nil.
func (x index) file(ino uint64) *record {
	return parseRecord(x.Bucket(bucketFiles).Get(key(ino)))
}

// put writes the record of an inode in place of old, which may be nil.
func (x index) put(ino uint64, old, r *record) error {
	if err := x.drop(ino, old); err != nil || len(r.names) == 0 {
		return err
	}
	if err := x.Bucket(bucketFiles).Put(key(ino), r.marshal()); err != nil {
		return err
	}
	if err := x.Bucket(bucketContent).Put(append(r.content[:], key(ino)...), nil); err != nil {
		return err
	}
	for _, n := range r.names {
		if err := x.Bucket(bucketNames).Put(key(n.member, ino), nil); err != nil {
			return err
		}
	}
	return nil
}

func (x index) drop(ino uint64, old *record) error {
	if old == nil {
		return nil
	}
	for _, n := range old.names {
		if err := x.Bucket(bucketNames).Delete(key(n.member, ino)); err != nil {
			return err
		}
	}
	if err := x.Bucket(bucketContent).Delete(append(old.content[:], key(ino)...)); err != nil {
		return err
	}
	return x.Bucket(bucketFiles).Delete(key(ino))
}

// equals yields the inodes whose content key begins with prefix, those after
// the inode last of that key only.
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

// members yields all members, and whether they are settled.
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

// forget takes a member out of the index.
func (x index) forget(id uint64) error {
	var inodes []uint64
	c := x.Bucket(bucketNames).Cursor()
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
