package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/durable"
)

// partners is which snapshots share inodes because they settled, or did once. A
// view that showed two partners would show hard links that are in neither.
// Chains have no partners; merges can.
type partners struct {
	file string
	mu   struct {
		sync.Mutex
		of map[uint64]map[uint64]bool // in both directions, and as in the file
	}
}

// open reads the file path, if there is one.
func (p *partners) open(path string) error {
	p.file = path
	p.mu.of = map[uint64]map[uint64]bool{}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var pairs [][2]uint64
	if err == nil {
		err = json.Unmarshal(b, &pairs)
	}
	if err != nil {
		return fmt.Errorf("partners of snapshots: %w", err)
	}
	for _, pair := range pairs {
		join(p.mu.of, pair[0], pair[1])
	}
	return nil
}

// addAll makes each of others a partner of a, on disk when it returns.
func (p *partners) addAll(a uint64, others sources) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, more := copyOf(p.mu.of), false
	for b := range others {
		more = more || !of[a][b]
		join(of, a, b)
	}
	if !more {
		return nil
	}
	return p.putLocked(of)
}

// of returns the partners of members.
func (p *partners) of(members sources) sources {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := sources{}
	for a := range members {
		maps.Copy(all, p.mu.of[a])
	}
	return all
}

// keep forgets partners that are both gone: there reports of a snapshot whether
// it is not.
func (p *partners) keep(there func(id uint64) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, gone := map[uint64]map[uint64]bool{}, false
	for a, others := range p.mu.of {
		for b := range others {
			if there(a) || there(b) {
				join(of, a, b)
			} else {
				gone = true
			}
		}
	}
	if !gone {
		return nil
	}
	return p.putLocked(of)
}

// putLocked writes what will be known.
func (p *partners) putLocked(of map[uint64]map[uint64]bool) error {
	var pairs [][2]uint64
	for a, others := range of {
		for b := range others {
			if a < b {
				pairs = append(pairs, [2]uint64{a, b})
			}
		}
	}
	b, err := json.Marshal(pairs)
	if err != nil {
		return err
	}
	if err := durable.Write(p.file, b); err != nil {
		return err
	}
	p.mu.of = of
	return nil
}

func join(of map[uint64]map[uint64]bool, a, b uint64) {
	for range 2 {
		if of[a] == nil {
			of[a] = map[uint64]bool{}
		}
		of[a][b] = true
		a, b = b, a
	}
}

func copyOf(of map[uint64]map[uint64]bool) map[uint64]map[uint64]bool {
	to := map[uint64]map[uint64]bool{}
	for a, others := range of {
		to[a] = maps.Clone(others)
	}
	return to
}

// sources are members that a lower of a merge may have inodes of.
type sources map[uint64]bool

func (a sources) meets(b sources) bool {
	for id := range a {
		if b[id] {
			return true
		}
	}
	return false
}

func (a sources) and(b sources) sources {
	all := sources{}
	for _, s := range []sources{a, b} {
		for id := range s {
			all[id] = true
		}
	}
	return all
}

// all are all members that have partners.
func (p *partners) all() sources {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := sources{}
	for id := range p.mu.of {
		all[id] = true
	}
	return all
}

// part marks those pairs of a merge over parent that must not be stacked as
// they are, since the merge would show partners. The pairs are pinned.
func (s *Snapshotter) part(ctx context.Context, parent string, pairs []pair, pin *pinned) error {
	s.settlers.barrier()
	if len(s.settlers.partners.all()) == 0 {
		return nil
	}
	return s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		chain, err := readChain(ctx, parent)
		if err != nil {
			return err
		}
		shown, err := s.sources(ctx, lowersOf(snapshots.KindView, chain))
		if err != nil {
			return err
		}
		for i := range pairs {
			more, err := s.sources(ctx, pairs[i].upper)
			if err != nil {
				return err
			}
			if s.settlers.partners.of(shown).meets(more) {
				pairs[i].apart = true
				pairs[i].name += apartSuffix
				pin.addDiff(pairs[i].name)
				continue
			}
			maps.Copy(shown, more)
		}
		return nil
	})
}

// sources returns the members that lowers may have inodes of: of a directory of
// links whose origin is gone all that have partners. It needs a transaction.
func (s *Snapshotter) sources(ctx context.Context, lowers []lower) (sources, error) {
	all := sources{}
	for _, id := range idsIn(lowers) {
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return nil, err
		}
		all[n] = true
	}
	for _, l := range lowers {
		if l.part == "" && (l.diff == "" || l.diff == emptyDiff) || strings.HasPrefix(l.part, skeletonKind) {
			continue
		}
		origin, err := s.originOf(ctx, l.diff)
		if err != nil {
			return nil, err
		}
		if origin == nil {
			return s.settlers.partners.all(), nil
		}
		more, err := s.sources(ctx, origin)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, more)
	}
	return all, nil
}

// originOf returns what the upper side of a clean diff shows, or nil if that is
// not known any more. It needs a transaction.
func (s *Snapshotter) originOf(ctx context.Context, diff string) ([]lower, error) {
	_, id, ok := strings.Cut(diff, "-")
	if !ok {
		return nil, nil
	}
	key, err := s.known.keyOf(ctx, strings.TrimSuffix(id, apartSuffix))
	if err != nil || key == "" {
		return nil, err
	}
	chain, err := readChain(ctx, key)
	if err != nil {
		return nil, err
	}
	lowers := lowersOf(snapshots.KindView, chain)
	return slices.Grow(lowers, 1)[:len(lowers)], nil // not nil
}
