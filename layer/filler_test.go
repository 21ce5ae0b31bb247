package layer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// sourceless returns a set with one layer, opened some time later, that no image
// names: every attempt to fetch of it fails at once and without a network.
func sourceless(t *testing.T, opts Options, later time.Duration) (*Set, *Layer) {
	t.Helper()
	st, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &index.Index{Compression: index.Gzip, DataSize: 4096, Chunks: []index.Chunk{{Size: 100, BlobEnd: 50}}}
	id := store.ID{Blob: digest.FromString("blob"), TOC: digest.FromString("toc")}
	data, err := st.Add(id, store.Content{DataSize: x.DataSize, Chunks: index.EncodeTable(x), NChunks: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := NewSet(st, fetch.New(nil, fetch.Options{}), opts)
	time.Sleep(later)
	l, err := s.Layer(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, close := range []func() error{l.Close, data.Close, s.Close, st.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s, l
}

// tried returns until when the filler leaves l alone.
func tried(s *Set, l *Layer) time.Time {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.filling.after
}

// The filler begins when nobody has waited for FillDelay, and leaves a layer
// that fails alone for FillRetry.
func TestFillerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := sourceless(t, Options{FillDelay: 5 * time.Second, FillRetry: time.Minute}, 0)
		for range 20 {
			if _, err := l.ReadAt(context.Background(), make([]byte, 10), 0); err == nil {
				t.Fatal("read what nobody has")
			}
			time.Sleep(4 * time.Second)
			if !tried(s, l).IsZero() {
				t.Fatal("filled while a reader is active")
			}
		}
		time.Sleep(6 * time.Second)
		first := tried(s, l)
		if first.IsZero() {
			t.Fatal("not tried although nobody reads")
		}
		time.Sleep(time.Until(first))
		if tried(s, l) != first {
			t.Error("tried again too early")
		}
		time.Sleep(s.opts.FillDelay)
		if tried(s, l) == first {
			t.Error("not tried again")
		}
	})
}

// A layer that was just opened is about to be read: the filler does not fill it yet.
func TestFillerLeavesNewLayersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := sourceless(t, Options{FillDelay: 5 * time.Second}, 4*time.Second)
		time.Sleep(4 * time.Second)
		if !tried(s, l).IsZero() {
			t.Error("filled four seconds after it was opened")
		}
		time.Sleep(7 * time.Second)
		if tried(s, l).IsZero() {
			t.Error("not filled though nobody reads")
		}
	})
}

// With a full disk there is nothing to fill.
func TestFillerNeedsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := sourceless(t, Options{FillDelay: time.Second}, 0)
		for range 10 {
			s.disk.recordRefusal(unix.ENOSPC)
			time.Sleep(stateLifetime / 2)
			if !tried(s, l).IsZero() {
				t.Fatal("filled although the disk is full")
			}
		}
		time.Sleep(2 * stateLifetime)
		if tried(s, l).IsZero() {
			t.Error("not filled when there is room again")
		}
	})
}
