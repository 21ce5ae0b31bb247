package store

import (
	"fmt"
	"slices"

	"github.com/ladle-dev/ladle/durable"
)

// maxSources is how many sources are kept of a layer.
const maxSources = 8

// Sources returns image references that have the blob, the newest first.
func (l *Layer) Sources() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.meta.Sources)
}

// AddSource remembers that the image ref has the blob. It writes nothing if
// that is the newest source already; the oldest of many is forgotten.
func (l *Layer) AddSource(ref string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	meta := l.mu.meta
	if len(meta.Sources) > 0 && meta.Sources[0] == ref {
		return nil
	}
	meta.Sources = newest(ref, meta.Sources)
	b, err := encodeMeta(meta)
	if err == nil {
		err = durable.Write(l.path(metaFile), b)
	}
	if err != nil {
		return fmt.Errorf("store: sources of layer %d: %w", l.Number(), err)
	}
	l.mu.meta = meta
	return nil
}

// newest returns at most maxSources of sources with ref first and once.
func newest(ref string, sources []string) []string {
	list := []string{ref}
	for _, s := range sources {
		if s != ref && len(list) < maxSources {
			list = append(list, s)
		}
	}
	return list
}
