package snapshot

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

// Names of files below settleDir.
const (
	partnersFile = "partners.db"
	// pairsFile is where earlier versions kept partners: pairs of numbers, in JSON.
	pairsFile = "partners"
)

// open reads what is known in dir, which need not exist: then nothing is. What an
// earlier version wrote there is taken over. In place of a database that is damaged
// there is one group of the current snapshots, those that may share inodes now: they are
// held to be partners of each other as long as they are there.
func (p *partners) open(dir string, current func() ([]uint64, error)) error {
	p.file = filepath.Join(dir, partnersFile)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.openLocked(dir, current); err != nil {
		return fmt.Errorf("partners of snapshots: %w", err)
	}
	return p.loadLocked()
}

func (p *partners) openLocked(dir string, current func() ([]uint64, error)) error {
	if err := importPairs(dir, current); err != nil {
		return err
	}
	if _, err := os.Lstat(p.file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := p.needLocked()
	if !errors.Is(err, durable.ErrCorrupt) {
		return err
	}
	all, err := current()
	if err != nil {
		return err
	}
	if err := makePartners(p.file, [][]uint64{all}); err != nil {
		return err
	}
	return p.needLocked()
}

// needLocked opens the database, or makes it, unless it is open.
func (p *partners) needLocked() (err error) {
	if p.db != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o700); err != nil {
		return err
	}
	p.db, err = durable.OpenDB(p.file, lockTimeout, bucketGroups)
	return err
}

// importPairs makes the database of what an earlier version wrote, if it did.
func importPairs(dir string, current func() ([]uint64, error)) error {
	old := filepath.Join(dir, pairsFile)
	b, err := os.ReadFile(old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var pairs, groups [][]uint64
	if err := json.Unmarshal(b, &pairs); err != nil {
		all, err := current()
		if err != nil {
			return err
		}
		pairs = [][]uint64{all}
	}
	for _, pair := range pairs {
		if len(pair) > 1 {
			groups = append(groups, pair)
		}
	}
	if err := makePartners(filepath.Join(dir, partnersFile), groups); err != nil {
		return err
	}
	return os.Remove(old)
}

// makePartners puts a database of groups in the place of the one at path.
func makePartners(path string, groups [][]uint64) error {
	made := path + durable.Suffix
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := durable.OpenDB(made, lockTimeout, bucketGroups)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for i, members := range groups {
			for _, id := range members {
				if err := putEntries(tx, []groupEntry{{uint64(i + 1), id}}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return durable.Replace(made, path)
}

// loadLocked makes what is in memory what is on disk. After an error it is as before.
func (p *partners) loadLocked() error {
	groups, in, exact, last := map[uint64][]uint64{}, map[uint64][]uint64{}, map[string]uint64{}, uint64(0)
	each := func(k, _ []byte) error { // in order
		if len(k) != 16 {
			return fmt.Errorf("partners of snapshots: %w: an entry of %d bytes", durable.ErrCorrupt, len(k))
		}
		e := groupEntry{binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:])}
		groups[e.group], in[e.member] = append(groups[e.group], e.member), append(in[e.member], e.group)
		last = e.group
		return nil
	}
	if p.db != nil {
		err := p.db.View(func(tx *bolt.Tx) error { return tx.Bucket(bucketGroups).ForEach(each) })
		if err != nil {
			return err
		}
	}
	for group, members := range groups {
		exact[groupKey(members)] = group
	}
	p.mu.groups, p.mu.in, p.mu.exact, p.mu.last = groups, in, exact, last
	return nil
}

// close closes the database, if it was opened.
func (p *partners) close() error {
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}
