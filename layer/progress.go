package layer

import (
	"cmp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// Import is an import that waits for others, or is in progress.
type Import struct {
	Image   string
	Layer   digest.Digest
	Size    int64     // bytes of the blob
	Done    int64     // of these, the bytes that are fetched and decompressed
	Began   time.Time // zero while it waits
	Waiting int       // Opens that wait for it
}

// FailedImport is an import that failed. One that was cancelled did not.
type FailedImport struct {
	Image string
	Layer digest.Digest
	Time  time.Time
	Err   error
}

// maxFailures is how many failed imports are remembered.
const maxFailures = 20

// Imports returns the imports that have not ended, the one that began first before others,
// and then those that wait.
func (s *Set) Imports() []Import {
	m := s.imports
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Import
	for _, i := range m.mu.all {
		select {
		case <-i.done:
			continue
		default:
		}
		at := Import{Image: i.src.Ref, Layer: i.src.Digest, Size: i.size, Done: i.fetched.Load(), Waiting: int(i.waiters.Load())}
		if began := i.began.Load(); began != nil {
			at.Began = *began
		}
		all = append(all, at)
	}
	slices.SortFunc(all, func(a, b Import) int {
		if a.Began.IsZero() != b.Began.IsZero() {
			return b.Began.Compare(a.Began)
		}
		return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.Layer, b.Layer))
	})
	return all
}

// FailedImports returns the newest imports that failed, the newest first.
func (s *Set) FailedImports() []FailedImport {
	s.imports.mu.Lock()
	defer s.imports.mu.Unlock()
	all := slices.Clone(s.imports.mu.failures)
	slices.Reverse(all)
	return all
}

// failed remembers that i failed with err, unless it was cancelled.
func (m *imports) failed(i *importing, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failedLocked(i, err)
}

func (m *imports) failedLocked(i *importing, err error) {
	if outcomeOf(err) == metrics.ImportCancelled {
		return
	}
	if len(m.mu.failures) == maxFailures {
		m.mu.failures = slices.Delete(m.mu.failures, 0, 1)
	}
	m.mu.failures = append(m.mu.failures, FailedImport{i.src.Ref, i.src.Digest, time.Now(), err})
}

// Filling returns the layer that the filler fetches chunks of now, or the zero ID.
func (s *Set) Filling() store.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.filling
}
