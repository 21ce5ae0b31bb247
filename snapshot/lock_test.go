package snapshot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/metastore"
)

// A call that waits for another one about the same key ends with its context: the other
// one may be waiting for a registry.
func TestWaitForAnotherCallEnds(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitLocal(t, s, "parent", "")
	unlock, err := s.lock(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	why := errors.New("the caller gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for name, call := range map[string]func() error{
		"Prepare": func() error { _, err := s.Prepare(ctx, "key", "parent"); return err },
		"View":    func() error { _, err := s.View(ctx, "key", "parent"); return err },
		"Mounts":  func() error { _, err := s.Mounts(ctx, "key"); return err },
		"Commit":  func() error { return s.Commit(ctx, "name", "key") },
		"Remove":  func() error { return s.Remove(ctx, "key") },
	} {
		if err := call(); !errors.Is(err, why) {
			t.Errorf("%s: %v, want %q", name, err, why)
		}
	}
}

// Cleanup lists what is to be deleted, and writes no metadata: each transaction that does
// has the metadata saved again.
func TestCleanupWritesNoMetadata(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitLocal(t, s, "snapshot", "")
	commitLocal(t, s, "removed", "")
	if err := s.Remove(t.Context(), "removed"); err != nil {
		t.Fatal(err)
	}
	read := func() []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(s.opts.Root, metastore.DBFile))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := read()
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, read()) {
		t.Error("Cleanup has written metadata")
	}
}
