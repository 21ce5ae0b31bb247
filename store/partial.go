package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/durable"
)

// How long the beginnings of blobs are kept that nobody asks for again, and how many bytes of
// all of them, the newest first.
const (
	partialAge  = 24 * time.Hour
	maxPartials = 16 << 30
)

// Partial is the beginning of a blob as it came from a registry. While a layer is made of the
// whole blob, its bytes are kept there, so that they need not be fetched again if that is
// cancelled or the process is killed. It is used by one goroutine, and ended by Keep or Remove.
//
// Nothing has verified the bytes: whoever reads them compares the digest of the whole blob.
// They count within one boot of the machine, like presence marks.
type Partial struct {
	store  *Store
	path   string
	file   *os.File // nil: nothing is kept
	size   int64    // bytes that are kept
	unlock func()
}

// Partial returns the beginning of blob that is kept, which may be nothing. While another call
// has it, it waits for as long as ctx lasts. If nothing can be kept, the log says why.
func (s *Store) Partial(ctx context.Context, blob digest.Digest) (*Partial, error) {
	if err := blob.Validate(); err != nil { // it becomes part of a path
		return nil, fmt.Errorf("store: %q: %w", blob, err)
	}
	unlock, err := s.locks.partials.LockContext(ctx, blob)
	if err != nil {
		return nil, err
	}
	p := &Partial{store: s, path: s.partialPath(blob), unlock: unlock}
	if err := p.open(); err != nil && !durable.NoSpace(err) {
		log.G(ctx).WithError(err).WithField("layer", blob).Warn("store: what is fetched of a blob is not kept")
	}
	return p, nil
}

func (p *Partial) open() error {
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p.file, p.size = f, info.Size()
	return nil
}

// Size returns how many bytes of the blob are kept.
func (p *Partial) Size() int64 { return p.size }

// ReadAt reads bytes of the blob that are kept.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) { return p.file.ReadAt(b, off) }

// Append keeps b, the bytes of the blob that follow those that are kept. If there is no space
// for them, or less than the reserve is free, nothing is kept any more.
func (p *Partial) Append(b []byte) {
	if p.file == nil || len(b) == 0 {
		return
	}
	if !p.store.IsLow() {
		n, err := p.file.Write(b)
		p.size += int64(n)
		if err == nil {
			return
		}
	}
	p.drop()
}

// Clear forgets what is kept. Append begins again with the first byte.
func (p *Partial) Clear() {
	if p.file == nil {
		return
	}
	p.size = 0
	if err := p.file.Truncate(0); err != nil {
		p.drop()
	}
}

// drop removes what is kept, before the blob is read to its end: it is of no use any more. What
// cannot be removed goes with the next sweep.
func (p *Partial) drop() {
	_ = p.file.Close()
	_ = os.RemoveAll(p.path)
	p.file, p.size = nil, 0
}

// Keep ends the use of p: the next call of Store.Partial has what is kept.
func (p *Partial) Keep() error {
	defer p.unlock()
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	if p.size == 0 {
		err = errors.Join(err, os.RemoveAll(p.path))
	}
	p.file = nil
	return err
}

// Remove ends the use of p, and forgets what is kept.
func (p *Partial) Remove() error {
	p.size = 0
	if p.file == nil {
		p.unlock()
		return nil
	}
	return p.Keep()
}

// RemovePartial forgets the beginning of blob: the store has a layer of the whole.
func (s *Store) RemovePartial(blob digest.Digest) error { return os.RemoveAll(s.partialPath(blob)) }

// Partials returns how many bytes of blobs are kept in all.
func (s *Store) Partials() (bytes int64) {
	for _, f := range s.partials() {
		bytes += f.Size()
	}
	return bytes
}

// SweepPartials removes what is kept for too long, the oldest of too much, and all if less than
// the reserve is free. What is removed while it is in use is of no use to the next call.
func (s *Store) SweepPartials(ctx context.Context) {
	all, low := s.partials(), s.IsLow()
	slices.SortFunc(all, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var bytes int64
	for _, f := range all {
		bytes += f.Size()
		if time.Since(f.ModTime()) <= partialAge && bytes <= maxPartials && !low {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.partialsDir(), f.Name())); err != nil {
			log.G(ctx).WithError(err).Warn("store: the beginning of a blob is not removed")
		}
	}
}

// partials lists what is kept.
func (s *Store) partials() (all []fs.FileInfo) {
	entries, err := os.ReadDir(s.partialsDir())
	if err != nil {
		return nil // who wants to keep something is told what is wrong
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Name() != partialsBoot { // else it was removed meanwhile
			all = append(all, info)
		}
	}
	return all
}

// partialsBoot is the file with the boot id under which all others of the directory were
// written. Bytes of an earlier boot may never have reached the disk.
const partialsBoot = "boot"

// openPartials makes the directory, and removes what does not count any more.
func (s *Store) openPartials(ctx context.Context) error {
	boot := filepath.Join(s.partialsDir(), partialsBoot)
	if b, err := os.ReadFile(boot); err == nil && string(b) == s.bootID {
		s.SweepPartials(ctx)
		return nil
	}
	if err := os.RemoveAll(s.partialsDir()); err != nil {
		return err
	}
	if err := os.Mkdir(s.partialsDir(), 0o700); err != nil {
		return err
	}
	// It need not be synced: without it, or with another content, nothing counts.
	return os.WriteFile(boot, []byte(s.bootID), 0o600)
}

func (s *Store) partialsDir() string { return filepath.Join(s.root, "partial") }

func (s *Store) partialPath(blob digest.Digest) string {
	return filepath.Join(s.partialsDir(), strings.Replace(string(blob), ":", "-", 1))
}
