package e2e

import (
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
)

// Images in a plain format are imported by the first build on them. The indexes of their
// layers are kept when these are removed, so that later builds read them lazily: also a
// command on a merge of two such images, where merges are stacks.
func TestPlainBasesAreLazyOnceImported(t *testing.T) {
	kinds := slices.Concat(stock, merging)
	l := newLab(t, labOptions{kinds: kinds, recipe: smallRecipe})
	l.base = l.Push("debian-python", image.Gzip)
	images := sources{"base": l.base, "tools": l.base, "wide": l.Push("hostile-wide", image.Gzip)}
	dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN python3 -c 'print(1)'\n"})
	from := func(kind string) { l.build(kind, dir, "") }
	merge := func(kind string) { l.walk(kind, images, "run-merge-wide") }

	merge(ladleOnOCI) // imports both images
	l.pruneAll()
	for _, kind := range kinds {
		l.isLazy(t, "from/"+kind, func() { from(kind) })
	}
	for _, kind := range merging {
		l.isLazy(t, "merge/"+kind, func() { merge(kind) })
	}
}

// isLazy checks that a build, of which nothing is local, fetches at most a third of the base.
func (l lab) isLazy(t *testing.T, name string, build func()) {
	t.Run(name, func(t *testing.T) {
		l := l.as(t)
		l.Link.Reset()
		build()
		if got, size := l.fetched(), l.size(l.base); got > size/3 {
			t.Errorf("%d of %d bytes were fetched", got, size)
		}
		l.pruneAll()
	})
}
