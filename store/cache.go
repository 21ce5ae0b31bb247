package store

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The bytes that a container reads are in the page cache of the mounted tree. The kernel
// caches the data file that they come from as well, which takes the memory twice.

// largestFolio is the largest unit in bytes of the page cache on amd64, and its
// alignment in a file. The kernel drops no part of a folio: ranges that are
// smaller stay cached (measured on Linux 6.18, ext4).
const largestFolio = 2 << 20

// DropCache lets the kernel drop what it caches of the n bytes of the data file
// at off, or up to the end if n is zero, and of what is nearer than 2 MiB. It
// keeps what is not yet on disk, but begins to write it.
func (l *Layer) DropCache(off, n int64) error {
	err := l.checkWrites(l.marks.losses.Load())
	if err == nil {
		end := l.size
		if n > 0 {
			end = off + n
		}
		first := off / largestFolio * largestFolio
		last := (end + largestFolio - 1) / largestFolio * largestFolio
		err = dropCache(l.data, first, last-first)
	}
	if err != nil {
		return fmt.Errorf("store: cache of layer %d: %w", l.Number(), err)
	}
	return nil
}

// dropBehind drops the folios that end in (off,end], which was read, if readers
// have passed through them.
func (l *Layer) dropBehind(off, end int64) {
	for n := off / largestFolio; off < end; n++ {
		next := min(end, (n+1)*largestFolio)
		if l.passing.read(n, next-off) && next == (n+1)*largestFolio {
			_ = dropCache(l.data, n*largestFolio, largestFolio) // advice: there is nothing to be done
		}
		off = next
	}
}

// passing tells sequential reads from others. A sequential reader has read most of a folio
// when it reads the folio's end. The order of the reads within a folio is not considered,
// since the kernel has several reads in progress.
type passing struct {
	mu struct {
		sync.Mutex
		// recent are folios that were read from lately, each in the place
		// of its number modulo the length.
		recent [16]struct{ folio, bytes int64 }
	}
}

// read notes that bytes of a folio were read, and reports whether it was passed
// through.
func (p *passing) read(folio, bytes int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.mu.recent[folio%int64(len(p.mu.recent))]
	if r.folio != folio {
		r.folio, r.bytes = folio, 0
	}
	r.bytes += bytes
	return r.bytes > largestFolio/2
}

func dropCache(f *os.File, off, n int64) error {
	return os.NewSyscallError("fadvise", unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED))
}
