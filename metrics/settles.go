package metrics

import "github.com/prometheus/client_golang/prometheus"

// How a file came to be stored once.
const (
	howLinked = "linked" // its names are of one inode
	howShared = "shared" // its extents are those of another file
)

// Settles counts files of committed snapshots that were found to be stored
// already.
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
