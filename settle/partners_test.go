package settle

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/internal/disktest"
)

func none() ([]uint64, error) { return nil, nil }

// newPartners are partners in a directory of their own, which are not synced.
func newPartners(t testing.TB) *partners {
	t.Helper()
	p := &partners{}
	must(t, p.open(t.TempDir(), none))
	must(t, p.openDBLocked())
	p.mu.db.NoSync = true
	t.Cleanup(func() { p.close() })
	return p
}

// reload makes partners what they are on disk.
func (p *partners) reload(t testing.TB, current func() ([]uint64, error)) {
	t.Helper()
	must(t, p.close())
	p.mu.db = nil
	must(t, p.open(filepath.Dir(p.file), current))
}

// cost is what partners take.
type cost struct {
	onDisk, inMemory int   // entries
	writes           int64 // of pages
	bytes            int64 // of pages that were written
}

func (p *partners) cost(t testing.TB) (c cost) {
	t.Helper()
	must(t, p.mu.db.View(func(tx *bolt.Tx) error {
		c.onDisk = tx.Bucket(bucketGroups).Stats().KeyN
		return nil
	}))
	for _, members := range p.mu.groups {
		c.inMemory += len(members)
	}
	for _, groups := range p.mu.in {
		c.inMemory += len(groups)
	}
	for key := range p.mu.exact {
		c.inMemory += len(key) / 8
	}
	stats := p.mu.db.Stats()
	c.writes, c.bytes = stats.TxStats.GetWrite(), stats.TxStats.GetPageAlloc()
	return c
}

// What n snapshots cost that share one file, because they settled, or were copied from
// one another, is twice what half as many cost.
func TestPartnersCostIsLinear(t *testing.T) {
	for name, join := range map[string]func(p *partners, id uint64, before []uint64) error{
		"settled":   func(p *partners, id uint64, before []uint64) error { return p.addSettled(id, before) },
		"two files": func(p *partners, id uint64, before []uint64) error { return joinTwo(p, id, before) },
		"copies of one": func(p *partners, id uint64, before []uint64) error {
			return p.addCopy(id, Copied{From: hardlink.SourcesOf(before[:min(1, len(before))]...)})
		},
		"copies of copies": func(p *partners, id uint64, before []uint64) error {
			return p.addCopy(id, Copied{From: hardlink.SourcesOf(before[max(0, len(before)-1):]...)})
		},
		"copies of files with one name": func(p *partners, id uint64, before []uint64) error {
			return p.addCopy(id, Copied{From: hardlink.SourcesOf(before[:min(1, len(before))]...), Single: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var costs []cost
			for _, n := range []uint64{500, 1000} {
				p := newPartners(t)
				var before []uint64
				for id := uint64(1); id <= n; id++ {
					must(t, join(p, id, before))
					must(t, join(p, id, before)) // it costs nothing to say it again
					before = append(before, id)
				}
				wanted := int(n) - 1
				if name == "copies of files with one name" {
					wanted = 1 // they share inodes with what they are from, and not with each other
				}
				if got := len(p.of(hardlink.SourcesOf(n))); got != wanted {
					t.Errorf("the last of %d has %d partners", n, got)
				}
				costs = append(costs, p.cost(t))
				t.Logf("%d snapshots: %+v", n, costs[len(costs)-1])
			}
			half, whole := costs[0], costs[1]
			if whole.onDisk > 2*half.onDisk+2 || whole.inMemory > 2*half.inMemory+6 || whole.onDisk > 2500 {
				t.Errorf("entries are not linear: %+v, %+v", half, whole)
			}
			if float64(whole.writes) > 2.5*float64(half.writes) || whole.writes > 10*1000 || float64(whole.bytes) > 2.5*float64(half.bytes) {
				t.Errorf("writes are not linear: %+v, %+v", half, whole)
			}
		})
	}
}

// joinTwo lets a snapshot share a file that all have, and one that every third has.
func joinTwo(p *partners, id uint64, before []uint64) error {
	var third []uint64
	for _, b := range before {
		if b%3 == 0 {
			third = append(third, b)
		}
	}
	if id%3 == 0 {
		if err := p.addSettled(id, third); err != nil {
			return err
		}
	}
	return p.addSettled(id, before)
}

// model is inodes, and the snapshots that have each.
type model struct {
	*rand.Rand
	inodes []hardlink.Sources
	pairs  map[[2]uint64]bool
}

func (m *model) pair(a, b uint64) {
	if a != b {
		m.pairs[[2]uint64{a, b}], m.pairs[[2]uint64{b, a}] = true, true
	}
}

func (m *model) of(a uint64) hardlink.Sources {
	all := hardlink.Sources{}
	for pair := range m.pairs {
		if pair[0] == a {
			all[pair[1]] = true
		}
	}
	return all
}

// Partners are exactly those of a list of all pairs, whatever came to share inodes in
// which order, and also as they are read from disk.
func TestPartnersArePairs(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPartners(t)
			m := &model{rand.New(rand.NewPCG(seed, 1)), nil, map[[2]uint64]bool{}}
			forgot := false
			for id := uint64(1); id <= 40; id++ {
				m.step(t, p, id)
				if seed%2 == 0 && m.IntN(8) == 0 {
					m.forget(t, p, id)
					forgot = true
				}
				if m.IntN(5) == 0 {
					p.reload(t, none)
				}
				some, theirs := hardlink.SourcesOf(1+m.Uint64N(id), 1+m.Uint64N(id), 1+m.Uint64N(id)), hardlink.Sources{}
				for a := range some {
					maps.Copy(theirs, m.of(a))
				}
				if got := p.of(some); !maps.Equal(got, theirs) {
					t.Fatalf("%v have the partners %v, want %v", some.List(), got.List(), theirs.List())
				}
				pairs := 0
				for other := uint64(1); other <= id; other++ {
					want := m.of(other)
					pairs += len(want)
					if got := p.of(hardlink.SourcesOf(other)); !maps.Equal(got, want) {
						t.Fatalf("%d has the partners %v, want %v", other, got.List(), want.List())
					}
				}
				if c := p.cost(t); c.onDisk > pairs && !forgot || len(p.mu.groups) > pairs/2 {
					t.Fatalf("%d entries in %d groups for %d pairs", c.onDisk, len(p.mu.groups), pairs/2)
				}
			}
		})
	}
}

// step adds a snapshot with some files of its own, some that settle and some copies.
func (m *model) step(t *testing.T, p *partners, id uint64) {
	t.Helper()
	for range m.IntN(3) {
		m.inodes = append(m.inodes, hardlink.SourcesOf(id))
	}
	if id > 1 && m.IntN(4) == 0 {
		from := hardlink.SourcesOf(1 + m.Uint64N(id-1))
		must(t, p.addCopy(id, Copied{From: from}))
		for a := range from {
			for b := range m.of(a) {
				m.pair(id, b)
			}
			m.pair(id, a)
		}
	}
	for _, members := range m.inodes {
		if len(members) == 0 || members[id] || m.IntN(3) > 0 {
			continue
		}
		must(t, p.addSettled(id, members.List()))
		for other := range members {
			m.pair(id, other)
		}
		members[id] = true
	}
}

func (m *model) forget(t *testing.T, p *partners, id uint64) {
	t.Helper()
	gone := hardlink.SourcesOf(1+m.Uint64N(id), 1+m.Uint64N(id))
	must(t, p.forget(gone))
	maps.DeleteFunc(m.pairs, func(pair [2]uint64, _ bool) bool { return gone[pair[0]] || gone[pair[1]] })
	for _, members := range m.inodes {
		maps.DeleteFunc(members, func(id uint64, _ bool) bool { return gone[id] })
	}
}

// What an earlier version wrote is read, once.
func TestPartnersOfEarlierVersion(t *testing.T) {
	dir := t.TempDir()
	b, err := json.Marshal([][2]uint64{{1, 2}, {2, 3}, {7, 9}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, pairsFile), b, 0o600))
	p := &partners{}
	t.Cleanup(func() { p.close() })
	must(t, p.open(dir, none))
	for range 2 {
		for id, want := range map[uint64][]uint64{1: {2}, 2: {1, 3}, 3: {2}, 7: {9}, 9: {7}} {
			if got := p.of(hardlink.SourcesOf(id)).List(); !slices.Equal(got, want) {
				t.Errorf("%d has the partners %v, want %v", id, got, want)
			}
		}
		p.reload(t, none)
	}
	if _, err := os.Lstat(filepath.Join(dir, pairsFile)); !os.IsNotExist(err) {
		t.Errorf("the file of the earlier version is left: %v", err)
	}
}

// Of partners that cannot be read nothing is believed: all there are may share inodes.
func TestPartnersDamaged(t *testing.T) {
	current := func() ([]uint64, error) { return []uint64{3, 4, 5}, nil }
	for name, damage := range map[string]func(path string) error{
		"text":        func(path string) error { return os.WriteFile(path, []byte("no database, nor JSON"), 0o600) },
		"empty":       func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "sub"), 0o700) },
		"missing":     func(string) error { return nil },
	} {
		for _, file := range []string{partnersFile, pairsFile} {
			if file == pairsFile && (name == "a directory" || name == "missing") {
				continue // nobody writes it any more
			}
			dir := t.TempDir()
			must(t, damage(filepath.Join(dir, file)))
			p := &partners{}
			must(t, p.open(dir, current))
			p.reload(t, none)
			if got := p.of(hardlink.SourcesOf(4)).List(); !slices.Equal(got, []uint64{3, 5}) {
				t.Errorf("%s is %s: partners %v", file, name, got)
			}
			must(t, p.close())
		}
	}
}

// Without space for a database all there are count as partners, at each start and until
// there is space.
func TestPartnersMissingOnAFullDisk(t *testing.T) {
	dir := filepath.Join(disktest.New(t, "ext4", 16<<20), "settle")
	must(t, os.Mkdir(dir, 0o700))
	free := disktest.Exhaust(t, filepath.Dir(dir))
	p := &partners{}
	for range 2 {
		must(t, p.open(dir, func() ([]uint64, error) { return []uint64{5, 3, 4}, nil }))
		if got := p.of(hardlink.SourcesOf(4)).List(); !slices.Equal(got, []uint64{3, 5}) {
			t.Errorf("partners %v", got)
		}
		for what, err := range map[string]error{"add": p.addSettled(9, []uint64{3}), "forget": p.forget(hardlink.SourcesOf(3))} {
			if !durable.NoSpace(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		must(t, p.close())
		p = &partners{}
	}
	must(t, p.open(dir, func() ([]uint64, error) { return []uint64{3, 4, 5}, nil }))
	free()
	must(t, p.addSettled(9, []uint64{3}))
	must(t, p.forget(hardlink.SourcesOf(5)))
	for range 2 {
		for id, want := range map[uint64][]uint64{3: {4, 9}, 4: {3}, 9: {3}} {
			if got := p.of(hardlink.SourcesOf(id)).List(); !slices.Equal(got, want) {
				t.Errorf("%d has the partners %v, want %v", id, got, want)
			}
		}
		p.reload(t, none)
	}
	must(t, p.close())
}

// A database of partners that is cut anywhere, or has a changed bit that is noticed,
// stands for partners of all there are.
func TestPartnersCutAndFlipped(t *testing.T) {
	current := func() ([]uint64, error) { return []uint64{1, 2, 3, 4, 5}, nil }
	p := newPartners(t)
	for id := uint64(2); id < 800; id++ {
		must(t, p.addSettled(id, []uint64{1 + id%7}))
	}
	must(t, p.addSettled(900, []uint64{4}))
	whole, err := os.ReadFile(p.file)
	must(t, err)
	open := func(b []byte) hardlink.Sources {
		t.Helper()
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, partnersFile), b, 0o600))
		p := &partners{}
		must(t, p.open(dir, current))
		defer p.close()
		return p.of(hardlink.SourcesOf(4))
	}
	page := os.Getpagesize()
	last := open(whole)
	for size := 0; size < len(whole); size += page {
		if got := open(whole[:size]); !maps.Equal(got, last) && !maps.Equal(got, hardlink.SourcesOf(1, 2, 3, 5)) {
			t.Errorf("cut after %d bytes: partners %v", size, got.List())
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		flipped := slices.Clone(whole)
		flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
		open(flipped) // it does not end the process
	}
}

// Snapshots that come and go leave nothing behind with those that stay.
func TestPartnersComeAndGo(t *testing.T) {
	p := newPartners(t)
	must(t, p.addSettled(2, []uint64{1}))
	must(t, p.addSettled(3, []uint64{1, 2}))
	stay := p.cost(t).onDisk
	for id := uint64(4); id < 100; id++ {
		must(t, p.addSettled(id, []uint64{1, 2}))
		must(t, p.addSettled(id, []uint64{1, 2, 3}))
		must(t, p.addCopy(id+1000, Copied{From: hardlink.SourcesOf(1), Single: id%2 == 0}))
		must(t, p.forget(hardlink.SourcesOf(id, id+1000)))
		if got := p.cost(t).onDisk; got > stay {
			t.Fatalf("%d entries, want %d", got, stay)
		}
	}
	if got := p.of(hardlink.SourcesOf(1)).List(); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("partners %v", got)
	}
}
