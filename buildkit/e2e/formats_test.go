package e2e

import (
	"testing"

	"github.com/ladle-dev/ladle/test/image"
)

// Of a base in a lazy format some is fetched; one in a plain format is imported whole, by
// the first worker: they share the store, where it stays for a while.
func TestFormats(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	for _, format := range image.Formats() {
		for _, kind := range onLadle {
			t.Run(string(format)+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				recipe := "debian-python"
				if format.Plain() {
					recipe = "busybox"
				}
				l.base = l.Push(recipe, format)
				dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE} AS base\nFROM scratch\nCOPY --from=base /etc/passwd /\n"})
				l.Link.Reset()
				l.build(kind, dir, "format-"+string(format))
				got, size := l.fetched(), l.size(l.base)
				switch lazy := got < size/2; {
				case lazy && format.Plain() && kind == onLadle[0], !lazy && !format.Plain():
					t.Errorf("%d of %d bytes were fetched", got, size)
				}
				l.prune(kind)
			})
		}
	}
	l.pruneAll()
}

// What BuildKit exports as eStargz is lazy when it is a base.
func TestExportedEStargzIsLazy(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	made := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN head -c 30000000 /dev/urandom >/random && echo text >/text\n"})
	l.base = l.buildTo(onOCI, made, "made", "compression=estargz,oci-mediatypes=true")
	l.prune(onOCI)
	for _, kind := range onLadle {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN test $(cat /text) = text\n"})
			l.Link.Reset()
			l.build(kind, dir, "lazy")
			if got, size := l.fetched(), l.size(l.base); got > size/3 {
				t.Errorf("%d of %d bytes were fetched", got, size)
			}
			l.prune(kind)
		})
	}
}
