package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/store"
)

// lossy is a layer on a disk that takes bytes into the page cache and then cannot
// keep them.
type lossy struct {
	*store.Layer
	store *store.Store
	data  *os.File // the data file
	free  func()   // lets the disk keep bytes
}

const lossyChunks, lossySize = 8, 1 << 20

func newLossy(t *testing.T) *lossy {
	t.Helper()
	thin := disktest.Tmpfs(t, 24<<20)
	dir := disktest.Thin(t, thin, 64<<20)
	l := &lossy{store: open(t, filepath.Join(dir, "store"), store.Options{})}
	content := sampleContent(1)
	content.DataSize, content.NChunks = lossyChunks*lossySize, lossyChunks
	var err error
	if l.Layer, err = l.store.Add(sampleID(1), content); err != nil {
		t.Fatal(err)
	}
	if l.data, err = os.Open(filepath.Join(dir, "store/layers/1/data")); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	l.free = disktest.ExhaustBut(t, thin, 4096)
	t.Cleanup(func() {
		l.data.Close()
		closeLayer(t, l.Layer)
		l.store.Close() // its own writes may be lost
	})
	return l
}

func (l *lossy) fillAll(t *testing.T) {
	t.Helper()
	for n := range lossyChunks {
		if err := l.Fill(n, int64(n)*lossySize, randomBytes(1, n, lossySize)); err != nil {
			t.Fatal(err)
		}
	}
}

// lose fills all chunks and lets the kernel fail to write them.
func (l *lossy) lose(t *testing.T) {
	t.Helper()
	l.fillAll(t)
	if l.data.Sync() == nil {
		t.Fatal("the disk kept what it had no space for")
	}
}

// drain goes on until everybody was told of all that was lost. There must be space
// again.
func (l *lossy) drain(t *testing.T) {
	t.Helper()
	_ = l.data.Sync()
	for {
		_, err := l.ReadAt(make([]byte, 1), 0)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrLost) {
			t.Fatal(err)
		}
	}
}

// check compares all bytes with what was filled, as they are on the disk.
func (l *lossy) check(t *testing.T) {
	t.Helper()
	if err := l.data.Sync(); err != nil {
		t.Error(err)
	}
	if err := unix.Fadvise(int(l.data.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, lossySize)
	for n := range lossyChunks {
		if _, err := l.ReadAt(got, int64(n)*lossySize); err != nil || !bytes.Equal(got, randomBytes(1, n, lossySize)) {
			t.Errorf("chunk %d is %s and has wrong bytes; %v", n, l.State(n), err)
		}
	}
}

// TestLostWriteWrittenAgain writes to pages again before it is known that they were
// lost: nothing of them may be left then.
func TestLostWriteWrittenAgain(t *testing.T) {
	l := newLossy(t)
	l.lose(t)
	l.fillAll(t)
	l.free()
	if _, err := l.ReadAt(make([]byte, lossySize), 0); !errors.Is(err, store.ErrLost) {
		t.Errorf("first read after the loss: %v", err)
	}
	l.drain(t)
	l.fillAll(t)
	l.check(t)
}

// TestLostBetweenStateAndRead loses a chunk after a reader found it present, and
// fills it again after the reader read it: the reader has zeros and must be told.
func TestLostBetweenStateAndRead(t *testing.T) {
	l := newLossy(t)
	l.lose(t)
	losses := l.Losses()
	wantState(t, l.Layer, 0, store.Present)
	if _, err := l.ReadAt(make([]byte, 1), 0); !errors.Is(err, store.ErrLost) {
		t.Fatalf("another reader after the loss: %v", err)
	}
	l.free()
	got := make([]byte, lossySize)
	n, err := l.ReadSince(losses, got, 0)
	l.fillAll(t)
	wantState(t, l.Layer, 0, store.Present)
	if !errors.Is(err, store.ErrLost) {
		t.Errorf("read %d bytes, all zeros: %v; %v", n, bytes.Equal(got, make([]byte, lossySize)), err)
	}
	if _, err := l.ReadSince(l.Losses(), got, 0); err != nil || !bytes.Equal(got, randomBytes(1, 0, lossySize)) {
		t.Errorf("wrong bytes once filled again; %v", err)
	}
}

// TestLostAndNotEmptied lets the lost pages stay in the data file for a while: no
// chunk may be written onto them.
func TestLostAndNotEmptied(t *testing.T) {
	l := newLossy(t)
	l.lose(t)
	l.fillAll(t) // onto pages that were lost
	keepHoles(t, l.data, true)
	defer keepHoles(t, l.data, false)
	if _, err := l.ReadAt(make([]byte, 1), 0); !errors.Is(err, unix.EPERM) {
		t.Fatalf("first read after the loss: %v", err)
	}
	l.free()
	if err := l.Fill(0, 0, randomBytes(1, 0, lossySize)); !errors.Is(err, store.ErrLost) {
		t.Errorf("Fill over what was lost: %v", err)
	}
	keepHoles(t, l.data, false)
	if err := l.Fill(0, 0, randomBytes(1, 0, lossySize)); err != nil {
		t.Fatal(err)
	}
	l.drain(t)
	l.fillAll(t)
	l.check(t)
}

// keepHoles lets the kernel refuse to make holes in f.
func keepHoles(t *testing.T, f *os.File, keep bool) {
	t.Helper()
	flags := 0
	if keep {
		flags = fsAppend
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|fsExtents); err != nil {
		t.Fatal(err)
	}
}

// Flags of linux/fs.h, FS_APPEND_FL and FS_EXTENT_FL. The kernel punches no holes
// in a file with the first one; every file on ext4 has the second.
const (
	fsAppend  = 0x20
	fsExtents = 0x80000
)

// TestLostAndClosed closes a layer before it is read after a loss of which somebody
// else was told: the kernel does not tell the next who opens its file.
func TestLostAndClosed(t *testing.T) {
	l := newLossy(t)
	l.lose(t)
	closeLayer(t, l.Layer)
	l.free()
	l.Layer = layer(t, l.store, 1)
	for n := range lossyChunks {
		wantState(t, l.Layer, n, store.Absent)
	}
	l.fillAll(t)
	l.check(t)
}

// TestLostAfterClose lets the kernel write what was filled in only when the layer is
// closed.
func TestLostAfterClose(t *testing.T) {
	l := newLossy(t)
	l.fillAll(t)
	closeLayer(t, l.Layer)
	unix.Sync()
	// Who is told now opened the file before. That the kernel does not tell the next
	// one is as if it had evicted the inode.
	_ = l.data.Sync()
	l.free()
	l.Layer = layer(t, l.store, 1)
	for n := range lossyChunks {
		wantState(t, l.Layer, n, store.Absent)
	}
	l.fillAll(t)
	l.check(t)
}
