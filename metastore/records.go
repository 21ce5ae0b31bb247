package metastore

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/containerd/v2/core/snapshots"
	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

// record is containerd's record of a snapshot, as far as other records depend on it.
type record struct {
	id     uint64
	kind   snapshots.Kind
	parent string
}

// format is the version of the format of a database: the number in the name of the bucket
// that has all others, "v1".
const format = 1

// checkRecords returns an ErrCorrupt if containerd's records of snapshots in the database at
// path, which has a sound structure, contradict each other: bbolt has no checksums of keys
// and values. It returns an ErrLaterFormat if the format is a later one.
// The format is that of containerd v2.4.2, core/snapshots/storage/bolt.go.
func checkRecords(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		if name, _ := tx.Cursor().First(); name == nil {
			return nil // no snapshot was ever made
		}
		version := tx.Bucket(fmt.Append([]byte("v"), format))
		if version == nil {
			return otherFormat(tx)
		}
		stored, links := version.Bucket([]byte("snapshots")), version.Bucket([]byte("parents"))
		if stored == nil || links == nil {
			return contradiction("there is no bucket of snapshots or of parents")
		}
		all, err := readRecords(stored)
		if err != nil {
			return err
		}
		return checkParents(all, links)
	})
}

// otherFormat returns the error of a database that has not the format of this version.
func otherFormat(tx *bolt.Tx) error {
	c := tx.Cursor()
	for name, _ := c.First(); name != nil; name, _ = c.Next() {
		number, ok := strings.CutPrefix(string(name), "v")
		if n, err := strconv.ParseUint(number, 10, 32); ok && err == nil && n > format {
			return durable.LaterFormat(n, format)
		}
	}
	return contradiction("there is no bucket v%d", format)
}

func contradiction(format string, args ...any) error {
	return fmt.Errorf("%w: %s", durable.ErrCorrupt, fmt.Sprintf(format, args...))
}

func readRecords(stored *bolt.Bucket) (map[string]record, error) {
	all, keys := map[string]record{}, map[uint64]string{}
	err := stored.ForEach(func(k, _ []byte) error {
		b := stored.Bucket(k)
		if b == nil {
			return contradiction("snapshot %q has no bucket", k)
		}
		id, n := binary.Uvarint(b.Get([]byte("id")))
		if other, twice := keys[id]; n <= 0 || id == 0 || id > stored.Sequence() || twice {
			return contradiction("snapshot %q has the number %d (snapshot %q), and the last was %d", k, id, other, stored.Sequence())
		}
		r := record{id: id, parent: string(b.Get([]byte("parent")))}
		if kind := b.Get([]byte("kind")); len(kind) == 1 {
			r.kind = snapshots.Kind(kind[0])
		}
		switch r.kind {
		case snapshots.KindView, snapshots.KindActive, snapshots.KindCommitted:
		default:
			return contradiction("snapshot %q has the kind %d", k, r.kind)
		}
		var created, updated time.Time
		if err := boltutil.ReadTimestamps(b, &created, &updated); err != nil {
			return contradiction("snapshot %q: %v", k, err)
		}
		all[string(k)], keys[id] = r, string(k)
		return nil
	})
	return all, err
}

// checkParents checks that parents are committed snapshots, and that links has exactly one
// entry for each snapshot with a parent: the numbers of parent and child with a zero between
// them, and the child's key as the value.
func checkParents(all map[string]record, links *bolt.Bucket) error {
	children := 0
	for key, r := range all {
		if r.parent == "" {
			continue
		}
		children++
		parent, there := all[r.parent]
		if !there || parent.kind != snapshots.KindCommitted {
			return contradiction("snapshot %q has the parent %q", key, r.parent)
		}
		link := append(binary.AppendUvarint(nil, parent.id), 0)
		if child := links.Get(binary.AppendUvarint(link, r.id)); string(child) != key {
			return contradiction("snapshot %q is not listed below its parent %q", key, r.parent)
		}
		for steps, at := 0, r; at.parent != ""; steps++ {
			if at = all[at.parent]; steps > len(all) {
				return contradiction("snapshot %q is its own ancestor", key)
			}
		}
	}
	if n := links.Stats().KeyN; n != children {
		return contradiction("%d of %d snapshots with a parent are listed", n, children)
	}
	return nil
}
