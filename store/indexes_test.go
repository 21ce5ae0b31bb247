package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

func indexOf(n int) (blob digest.Digest, index []byte) {
	return digest.FromString(strconv.Itoa(n)), bytes.Repeat([]byte{byte(n)}, 100)
}

func keepIndex(t *testing.T, s *store.Store, n int) {
	t.Helper()
	blob, index := indexOf(n)
	if err := s.KeepIndex(blob, index); err != nil {
		t.Fatal(err)
	}
}

// wantIndexes reads the kept indexes of ns. Others of 0 to 9 must not be kept.
func wantIndexes(t *testing.T, s *store.Store, ns ...int) {
	t.Helper()
	want := map[int]bool{}
	for _, n := range ns {
		want[n] = true
	}
	for n := range 10 {
		blob, index := indexOf(n)
		if s.HasIndex(blob) != want[n] {
			t.Errorf("index %d is kept: %v", n, !want[n])
		}
		if got, err := s.KeptIndex(blob); want[n] && (err != nil || !bytes.Equal(got, index)) || !want[n] && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("index %d: %q, %v", n, got, err)
		}
	}
}

// TestKeptIndexes: the index that was not used for the longest time goes when there are too many
// bytes, also after a restart, and also if fewer are allowed then.
func TestKeptIndexes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{IndexBytes: 350})
	for n := range 3 {
		keepIndex(t, s, n)
	}
	wantIndexes(t, s, 0, 1, 2) // 0 is the oldest one by this, too
	first, _ := indexOf(0)
	if _, err := s.KeptIndex(first); err != nil {
		t.Fatal(err)
	}
	keepIndex(t, s, 3)
	wantIndexes(t, s, 2, 0, 3)
	keepIndex(t, s, 0) // again
	wantIndexes(t, s, 2, 3, 0)
	if n := s.Bytes(); n < 300 {
		t.Errorf("the store has %d bytes", n)
	}
	closeStore(t, s)
	// Times of files may have been taken in one tick of the kernel's clock.
	for i, n := range []int{2, 3, 0} {
		blob, _ := indexOf(n)
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		if err := os.Chtimes(pathOfIndex(dir, blob), at, at); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, store.Options{IndexBytes: 250})
	wantIndexes(t, s, 3, 0)
	if err := s.DropIndex(first); err != nil {
		t.Error(err)
	}
	if err := s.DropIndex(first); err != nil {
		t.Error(err)
	}
	wantIndexes(t, s, 3)
	large, _ := indexOf(5)
	if err := s.KeepIndex(large, make([]byte, 251)); err != nil {
		t.Error(err)
	}
	wantIndexes(t, s, 3)
	closeStore(t, s)
	s = open(t, dir, store.Options{})
	if s.KeepsIndexes() {
		t.Error("it keeps indexes of 0 bytes")
	}
	keepIndex(t, s, 1)
	wantIndexes(t, s)
}

func pathOfIndex(dir string, blob digest.Digest) string {
	return filepath.Join(dir, "indexes", strings.Replace(blob.String(), ":", "-", 1))
}

// TestLeftoversOfIndexes: what is no kept index is removed when the store is opened. A file that
// goes while it is open is an error once, and not counted any more when it was dropped.
func TestLeftoversOfIndexes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{IndexBytes: 200})
	keepIndex(t, s, 1)
	closeStore(t, s)
	first, _ := indexOf(1)
	path := pathOfIndex(dir, first)
	for _, name := range []string{path + ".new", filepath.Join(dir, "indexes", "sha256-12"), filepath.Join(dir, "indexes", "x")} {
		if err := os.WriteFile(name, []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second, _ := indexOf(2)
	if err := os.MkdirAll(filepath.Join(pathOfIndex(dir, second), "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.Options{IndexBytes: 200})
	wantIndexes(t, s, 1)
	if left, err := os.ReadDir(filepath.Join(dir, "indexes")); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeptIndex(first); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v of a file that is gone", err)
	}
	if err := s.DropIndex(first); err != nil {
		t.Error(err)
	}
	keepIndex(t, s, 3)
	keepIndex(t, s, 4)
	wantIndexes(t, s, 3, 4)
	if err := s.KeepIndex("../x", nil); err == nil {
		t.Error("no error for a name that is no digest")
	}
}
