package layer

import (
	"errors"
	"slices"
	"sync"

	"github.com/ladle-dev/ladle/fetch"
)

// sources are the images that a layer's blob can be fetched from: one fetch.Blob for each
// known image, the newest image first.
type sources struct {
	mu struct {
		sync.Mutex
		refs  []string
		found []*fetch.Blob // of refs, in the same order
	}
}

// maxSources bounds the images that are tried for one run.
const maxSources = 8

// add makes the image ref the first one.
func (s *sources) add(ref string, blob func() *fetch.Blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := (*fetch.Blob)(nil)
	if i := slices.Index(s.mu.refs, ref); i >= 0 {
		b = s.mu.found[i]
		s.mu.refs = slices.Delete(s.mu.refs, i, i+1)
		s.mu.found = slices.Delete(s.mu.found, i, i+1)
	} else {
		b = blob()
	}
	s.mu.refs = slices.Insert(s.mu.refs, 0, ref)
	s.mu.found = slices.Insert(s.mu.found, 0, b)
	if len(s.mu.refs) > maxSources {
		s.mu.refs, s.mu.found = s.mu.refs[:maxSources], s.mu.found[:maxSources]
	}
}

// images returns the references of the images.
func (s *sources) images() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.refs)
}

// blobs returns the blobs in the order to try them: those with recent failures are last.
func (s *sources) blobs() []*fetch.Blob {
	s.mu.Lock()
	all := slices.Clone(s.mu.found)
	s.mu.Unlock()
	failing := map[*fetch.Blob]int{}
	for _, b := range all {
		if b.Failure() != nil {
			failing[b] = 1
		}
	}
	slices.SortStableFunc(all, func(a, b *fetch.Blob) int { return failing[a] - failing[b] })
	return all
}

// link returns the estimate for the path to the first source.
func (s *sources) link() fetch.Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.found) == 0 {
		return fetch.Link{}
	}
	return s.mu.found[0].Link()
}

// failure returns the recent errors of all sources if all are failing; else nil.
func (s *sources) failure() error {
	var all []error
	for _, b := range s.blobs() {
		err := b.Failure()
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// of returns the blobs of the given images that are among the sources.
func (s *sources) of(refs []string) (blobs []*fetch.Blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, ref := range s.mu.refs {
		if slices.Contains(refs, ref) {
			blobs = append(blobs, s.mu.found[i])
		}
	}
	return blobs
}
