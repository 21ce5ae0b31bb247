package settle

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

// Names of files below Options.Dir.
const (
	partnersFile = "partners.db"
	// pairsFile is of earlier versions: a list of pairs of partners, in JSON.
	pairsFile = "partners"
)

// lockTimeout is how long another process may have partners.db open.
const lockTimeout = 10 * time.Second

// open reads the partners in dir, which is made if need be. The file of an earlier version
// is replaced by a database. Where there is no database, or a damaged one, current returns
// which snapshots there are: they count as partners of each other for as long as they
// exist. Of a new endpoint there are none.
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
	_, err := os.Lstat(p.file)
	if err == nil {
		err = p.openDBLocked()
	}
	if errors.Is(err, durable.ErrCorrupt) {
		if err = os.RemoveAll(p.file); err == nil {
			err = fs.ErrNotExist
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p.mu.assumed, err = current(); err != nil {
		return err
	}
	if err := p.openDBLocked(); !durable.NoSpace(err) {
		return err
	}
	return nil // the next start assumes the same, unless there is space before
}

// openDBLocked opens the database, or makes it of what is assumed, unless it is open.
func (p *partners) openDBLocked() (err error) {
	if p.mu.db != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o700); err != nil {
		return err
	}
	if len(p.mu.assumed) > 1 {
		if err := makePartners(p.file, [][]uint64{p.mu.assumed}); err != nil {
			return err
		}
	}
	if p.mu.db, err = durable.OpenDB(p.file, lockTimeout, bucketGroups); err != nil {
		return err
	}
	p.mu.assumed = nil
	return nil
}

// importPairs makes a database of the file of an earlier version, if there is one.
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

// makePartners replaces the database at path, if there is one, by one with groups.
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
		return errors.Join(err, os.Remove(made)) // such as for want of space
	}
	return durable.Replace(made, path)
}

// loadLocked reads all that is on disk into memory. After an error memory is as before.
func (p *partners) loadLocked() error {
	groups, in, exact, last := map[uint64][]uint64{}, map[uint64][]uint64{}, map[string]uint64{}, uint64(0)
	each := func(k, _ []byte) error { // in order of groups
		if len(k) != 16 {
			return fmt.Errorf("partners of snapshots: %w: an entry of %d bytes", durable.ErrCorrupt, len(k))
		}
		e := groupEntry{binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:])}
		groups[e.group], in[e.member] = append(groups[e.group], e.member), append(in[e.member], e.group)
		last = e.group
		return nil
	}
	if p.mu.db == nil {
		for _, id := range slices.Sorted(slices.Values(p.mu.assumed)) {
			_ = each(groupEntry{1, id}.key(), nil) // it has 16 bytes
		}
	} else if err := p.mu.db.View(func(tx *bolt.Tx) error { return tx.Bucket(bucketGroups).ForEach(each) }); err != nil {
		return err
	}
	for group, members := range groups {
		exact[groupKey(members)] = group
	}
	p.mu.groups, p.mu.in, p.mu.exact, p.mu.last = groups, in, exact, last
	return nil
}

// close closes the database, if it was opened.
func (p *partners) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.db == nil {
		return nil
	}
	return p.mu.db.Close()
}
