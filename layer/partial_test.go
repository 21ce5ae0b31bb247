package layer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// slack is what an Open fetches besides the blob: its end, to look for an index.
const slack = 256 << 10

// halfway begins to import the bench's layer, and returns when more than a megabyte of it was
// read: the registry has no more until release. end ends the Open, and returns its error.
func (b *bench) halfway(t *testing.T) (end func() error, release func()) {
	t.Helper()
	open := make(chan struct{})
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		var from int64
		if _, err := fmt.Sscanf(q.Range, "bytes=%d-", &from); err == nil && from > int64(len(b.blob))/2 && int64(len(b.blob))-from > slack {
			<-open
		}
		return registrytest.Fault{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := b.set.Open(ctx, b.req); done <- err }()
	waitFor(t, func() bool {
		all := b.set.Imports()
		return len(all) == 1 && all[0].Done > 1<<20
	})
	end = func() error { cancel(); return <-done }
	t.Cleanup(func() { cancel() })
	return end, func() { close(open); b.SetFault(nil) }
}

// partialFile is where the beginning of the bench's blob is kept.
func (b *bench) partialFile() string {
	return filepath.Join(b.root, "partial", "sha256-"+b.req.Source.Digest.Encoded())
}

// kept returns how many bytes of the bench's blob are kept.
func (b *bench) kept(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(b.partialFile())
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// wantResumed opens the layer, of which n bytes need not be fetched.
func (b *bench) wantResumed(t *testing.T, n int64) {
	t.Helper()
	b.Reset()
	l := b.open(t)
	var asked int64
	for _, q := range b.Log() {
		var from, to int64
		if _, err := fmt.Sscanf(q.Range, "bytes=%d-%d", &from, &to); err == nil && from >= 0 {
			asked += to + 1 - from
		}
	}
	if asked > int64(len(b.blob))-n+slack {
		t.Errorf("%d bytes were asked for of a blob of %d, of which %d were there", asked, len(b.blob), n)
	}
	b.wantFiles(t, l)
	b.wantNoDrafts(t)
	if n := b.kept(t); n != 0 {
		t.Errorf("%d bytes are kept of a layer that is stored", n)
	}
}

// TestImportGoesOn: after an Open that was cancelled, and after one that a new daemon knows
// nothing of, nothing is fetched a second time.
func TestImportGoesOn(t *testing.T) {
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, someFiles(1, 30), pack)
			b.startPatient(t, importing)
			end, release := b.halfway(t)
			defer release()
			if err := end(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			b.wantNoDrafts(t)
			if b.kept(t) <= 1<<20 {
				t.Fatalf("%d bytes are kept", b.kept(t))
			}
			if name == "gzip" || name == "zstd" {
				b.stop(t)
				b.start(t, importing, store.Options{})
			}
			b.SetFault(nil)
			b.wantResumed(t, b.kept(t))
		})
	}
}

// TestImportAheadGoesOn: what was imported ahead, and is dropped with the pull, is not
// fetched again.
func TestImportAheadGoesOn(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["gzip"])
	b.start(t, importing, store.Options{})
	first := b.req
	tarball := tarOf(t, someFiles(2, 5))
	first.Source.Digest = b.AddBlob(packed(t, tarball, len(tarball)))
	first.Siblings = []digest.Digest{b.req.Source.Digest}
	first.Proves = provedBy(digest.FromBytes(tarball))
	if _, err := b.set.Open(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return layer.ImportsMade(b.set) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.set.Open(ctx, first); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.wantNoDrafts(t)
	if b.kept(t) != int64(len(b.blob)) {
		t.Errorf("%d bytes of %d are kept", b.kept(t), len(b.blob))
	}
	b.wantResumed(t, int64(len(b.blob)))
}

// TestImportOfDamagedBeginning: what is kept is not believed.
func TestImportOfDamagedBeginning(t *testing.T) {
	for name, damage := range map[string]func(path string, size int64) error{
		"other bytes": func(path string, _ int64) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("other bytes"), 5000)
			return errors.Join(err, f.Close())
		},
		"longer": func(path string, size int64) error { return os.Truncate(path, size+1) },
		"zeros behind it": func(path string, size int64) error {
			return errors.Join(os.Truncate(path, 600_000), os.Truncate(path, size))
		},
		"a directory":         func(path string, _ int64) error { return errors.Join(os.Remove(path), os.MkdirAll(path+"/d", 0o700)) },
		"the whole of others": func(path string, size int64) error { return os.WriteFile(path, make([]byte, size), 0o600) },
	} {
		for form, pack := range packers {
			if form != "gzip" && name != "other bytes" {
				continue // it is found before the bytes are decompressed, or as for gzip
			}
			t.Run(name+"/"+form, func(t *testing.T) {
				b := plainBench(t, someFiles(1, 30), pack)
				b.startPatient(t, importing)
				end, release := b.halfway(t)
				_ = end() // cancelled
				release()
				b.wantNoDrafts(t)
				if err := damage(b.partialFile(), int64(len(b.blob))); err != nil {
					t.Fatal(err)
				}
				b.wantResumed(t, -int64(len(b.blob)))
			})
		}
	}
}

// TestWrongBytesAreNotKept has a layer that is another one, and a registry that sends wrong
// bytes.
func TestWrongBytesAreNotKept(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["gzip"])
	b.start(t, importing, store.Options{})
	right := b.req.Proves
	b.req.Proves = provedBy(digest.FromString("another tar"))
	b.SetFault(nil)
	if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrUnverified) {
		t.Error(err)
	}
	if n := b.kept(t); n != 0 {
		t.Errorf("%d bytes are kept of a layer that is another one", n)
	}
	b.req.Proves = right
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrInvalid) {
		t.Error(err)
	}
	if n := b.kept(t); n != 0 {
		t.Errorf("%d bytes are kept that are wrong", n)
	}
	b.SetFault(nil)
	b.wantResumed(t, 0)
}

// TestRegistryThatFailsLeavesWhatItSent has a registry that refuses the second half.
func TestRegistryThatFailsLeavesWhatItSent(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["gzip"])
	b.start(t, importing, store.Options{})
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		var from int64
		if _, err := fmt.Sscanf(q.Range, "bytes=%d-", &from); err == nil && from > int64(len(b.blob))/2 && int64(len(b.blob))-from > slack {
			return registrytest.Fault{Status: 404}
		}
		return registrytest.Fault{}
	})
	if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, fetch.ErrNotFound) {
		t.Error(err)
	}
	b.wantNoDrafts(t)
	if b.kept(t) == 0 {
		t.Error("nothing is kept")
	}
	b.SetFault(nil)
	b.wantResumed(t, b.kept(t))
}

// TestSetLeavesNoDrafts closes a set that has imported a layer which nobody has asked for. It
// need not be fetched again.
func TestSetLeavesNoDrafts(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["gzip"])
	b.start(t, importing, store.Options{})
	other := b.req
	tarball := tarOf(t, someFiles(2, 5))
	other.Source.Digest = b.AddBlob(packed(t, tarball, len(tarball)))
	other.Siblings = []digest.Digest{b.req.Source.Digest}
	other.Proves = provedBy(digest.FromBytes(tarball))
	if _, err := b.set.Open(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return layer.ImportsMade(b.set) == 1 })
	b.stop(t)
	if left, err := os.ReadDir(filepath.Join(b.root, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("%d drafts are left, %v", len(left), err)
	}
	b.start(t, importing, store.Options{})
	b.wantResumed(t, int64(len(b.blob)))
}
