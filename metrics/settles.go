package metrics

import "github.com/prometheus/client_golang/prometheus"

// Ways in which a file is stored once.
const (
	howLinked = "linked" // it is a hard link to an equal file
	howShared = "shared" // it shares extents with an equal file
)

// Settles counts files of committed snapshots that share storage with an equal file.
type Settles struct{ files, bytes *prometheus.CounterVec }

func newSettles(r prometheus.Registerer) *Settles {
	s := &Settles{
		newCounters(r, "settled_files_total", "Files that came to share storage with an equal one, by how.", "how"),
		newCounters(r, "settled_bytes_total", "Bytes of these files.", "how"),
	}
	for _, how := range []string{howLinked, howShared} {
		s.files.WithLabelValues(how)
		s.bytes.WithLabelValues(how)
	}
	return s
}

// Linked counts files, and the bytes of their contents, that became names of
// an inode that there was.
func (s *Settles) Linked(files, bytes int64) { s.add(howLinked, files, bytes) }

// Shared counts files, and the bytes of their contents, that came to share
// extents.
func (s *Settles) Shared(files, bytes int64) { s.add(howShared, files, bytes) }

func (s *Settles) add(how string, files, bytes int64) {
	if s != nil {
		s.files.WithLabelValues(how).Add(float64(files))
		s.bytes.WithLabelValues(how).Add(float64(bytes))
	}
}
