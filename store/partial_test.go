package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/store"
)

func partial(t *testing.T, s *store.Store, name string) *store.Partial {
	t.Helper()
	p, err := s.Partial(t.Context(), digest.FromString(name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantKept compares what is kept of a blob, and keeps it.
func wantKept(t *testing.T, s *store.Store, name, want string) {
	t.Helper()
	p := partial(t, s, name)
	got := make([]byte, p.Size())
	if len(got) > 0 {
		if _, err := p.ReadAt(got, 0); err != nil {
			t.Error(err)
		}
	}
	if string(got) != want {
		t.Errorf("of %s %q is kept, want %q", name, got, want)
	}
	if err := p.Keep(); err != nil {
		t.Error(err)
	}
}

func keep(t *testing.T, s *store.Store, name, bytes string) {
	t.Helper()
	p := partial(t, s, name)
	p.Append([]byte(bytes))
	if err := p.Keep(); err != nil {
		t.Fatal(err)
	}
}

// TestPartial keeps the beginnings of blobs, in one process and the next, until the machine
// is reset.
func TestPartial(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "a"})
	wantKept(t, s, "one", "")
	keep(t, s, "one", "begin")
	keep(t, s, "one", "ning")
	wantKept(t, s, "one", "beginning")
	p := partial(t, s, "two")
	p.Append([]byte("wrong"))
	p.Clear()
	p.Append([]byte("right"))
	if p.Size() != 5 {
		t.Errorf("size %d", p.Size())
	}
	if err := p.Keep(); err != nil {
		t.Error(err)
	}
	wantKept(t, s, "two", "right")
	if n := s.Partials(); n != 14 {
		t.Errorf("%d bytes are kept", n)
	}
	partial(t, s, "three").Append([]byte("killed")) // and the process is gone
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "a"})
	wantKept(t, s, "one", "beginning")
	wantKept(t, s, "three", "killed")
	if err := partial(t, s, "two").Remove(); err != nil {
		t.Error(err)
	}
	wantKept(t, s, "two", "")
	if err := errors.Join(s.RemovePartial(digest.FromString("three")), s.RemovePartial(digest.FromString("none"))); err != nil {
		t.Error(err)
	}
	wantKept(t, s, "three", "")
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "b"})
	wantKept(t, s, "one", "")
	wantFiles(t, root, "boot")
}

// TestPartialOfNoDigest has what must not become part of a path.
func TestPartialOfNoDigest(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	for _, blob := range []digest.Digest{"", "sha256:../../x", "sha256-x"} {
		if _, err := s.Partial(t.Context(), blob); err == nil {
			t.Errorf("%q is taken", blob)
		}
	}
}

// wantFiles compares the names of the files in the directory of beginnings.
func wantFiles(t *testing.T, root string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "partial"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
}

// TestPartialIsOneUsers: a second call waits for the end of the first, or of its context.
func TestPartialIsOneUsers(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	first := partial(t, s, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Partial(ctx, digest.FromString("one")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	second := make(chan int64)
	go func() { p := partial(t, s, "one"); second <- p.Size() }()
	first.Append([]byte("four"))
	if err := first.Keep(); err != nil {
		t.Error(err)
	}
	if n := <-second; n != 4 {
		t.Errorf("the second has %d bytes", n)
	}
}

// TestPartialsAreBounded has some that are old, and too many.
func TestPartialsAreBounded(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "a"})
	path := func(name string) string {
		return filepath.Join(root, "partial", "sha256-"+digest.FromString(name).Encoded())
	}
	age := func(name string, d time.Duration) {
		t.Helper()
		then := time.Now().Add(-d)
		if err := os.Chtimes(path(name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"old", "large", "larger", "new"} {
		keep(t, s, name, name)
	}
	age("old", 25*time.Hour)
	age("large", 2*time.Hour)
	age("larger", time.Hour)
	s.SweepPartials(t.Context())
	wantKept(t, s, "old", "")
	wantKept(t, s, "large", "large")
	for _, name := range []string{"large", "larger"} {
		if err := os.Truncate(path(name), 9<<30); err != nil { // all of it a hole
			t.Fatal(err)
		}
	}
	age("large", 2*time.Hour)
	age("larger", time.Hour)
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "a"})
	wantKept(t, s, "new", "new")
	if n := s.Partials(); n != 9<<30+3 {
		t.Errorf("%d bytes are kept", n)
	}
	if _, err := os.Stat(path("larger")); err != nil {
		t.Errorf("the older one was kept: %v", err)
	}
}

// TestPartialOnFullDisk: what there is no space for, or what would take of the reserve, is not
// kept, and what was kept goes.
func TestPartialOnFullDisk(t *testing.T) {
	dir := disktest.New(t, "ext4", 16<<20)
	var reserve atomic.Int64
	s := open(t, dir, store.Options{Reserve: func(int64) int64 { return reserve.Load() }})
	p := partial(t, s, "one")
	block := bytes.Repeat([]byte("x"), 1<<20)
	p.Append(block)
	for range 20 {
		p.Append(block)
	}
	if p.Size() != 0 {
		t.Errorf("%d bytes are kept on a full disk", p.Size())
	}
	if err := p.Keep(); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir, "boot")
	free := disktest.Exhaust(t, dir)
	p = partial(t, s, "two")
	p.Append(block)
	if p.Size() != 0 {
		t.Errorf("%d bytes are kept on a disk that was full", p.Size())
	}
	if err := p.Remove(); err != nil {
		t.Error(err)
	}
	free()
	keep(t, s, "three", "there is space again")
	wantKept(t, s, "three", "there is space again")
	reserve.Store(1 << 40)
	waittest.For(t, "what is kept to be removed", func() bool {
		s.SweepPartials(t.Context())
		return s.Partials() == 0
	})
	p = partial(t, s, "three")
	waittest.For(t, "less than the reserve to be free", func() bool {
		p.Append([]byte("more"))
		return p.Size() == 0
	})
	if err := p.Keep(); err != nil {
		t.Error(err)
	}
	wantKept(t, s, "three", "")
}
