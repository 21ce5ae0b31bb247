package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/buildkit/registry"
	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
)

// A graph of merges and diffs, with a command that runs on it, is the same on
// ladle-buildkitd and on overlayfs: its blobs, its root file system, and what
// is written on it.
func TestSameGraphsAsOverlayfs(t *testing.T) {
	l := newLab(t, labOptions{kinds: slices.Concat([]string{onOverlayfs}, merging)})
	plain, lazy := l.sources()
	for name := range strings.FieldsSeq(string(graphs(t))) {
		// One after the other: BuildKit on overlayfs, which is what is compared with, has
		// been seen to put all of an image into the diff of its last layer when several
		// of these builds pull the image at once.
		kinds := merging
		if !strings.HasPrefix(name, "merge-") {
			kinds = []string{ladleOnOCI}
		}
		t.Run(name, func(t *testing.T) { l.as(t).sameGraph(name, plain, lazy, kinds...) })
	}
	l.pruneAll()
}

// sameGraph builds a graph of plain images on overlayfs, and of lazy ones on workers of
// the given kinds, and compares.
func (l lab) sameGraph(name string, plain, lazy sources, kinds ...string) {
	l.Helper()
	plainRef := l.buildGraph(onOverlayfs, plain.graph(l.TB, name), name)
	want := l.chainOn(plain, plainRef)
	graph := lazy.graph(l.TB, name)
	for _, kind := range kinds {
		ref := l.buildGraph(kind, graph, name)
		if got := l.chainOn(lazy, ref); !slices.Equal(got, want) {
			l.Errorf("on the %s worker there are\n%s\non overlayfs\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
			l.logDifference(plainRef, ref)
			a, b := l.listing(plainRef), l.listing(ref)
			l.logMissing("listing: -", a, b)
			l.logMissing("listing: +", b, a)
		}
	}
}

// sources are references of the images that graphs are made of, by name.
type sources map[string]string

// graph is the definition of a graph of these images.
func (s sources) graph(t testing.TB, name string) []byte {
	t.Helper()
	args := []string{name}
	for source, ref := range s {
		args = append(args, source+"="+ref)
	}
	return graphs(t, args...)
}

// chainOn is the layers of an image, those of the sources by name: two forms
// of one layer have different digests. The others are known by what is in them
// but for the times of whiteouts, which are when BuildKit wrote the layer.
func (l lab) chainOn(s sources, ref string) (chain []string) {
	l.Helper()
	known := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		for i, layer := range l.chain(s[name]) {
			known[layer] = fmt.Sprintf("layer %d of %s", i, name)
		}
	}
	layers, err := l.image(ref).Layers()
	if err != nil {
		l.Fatal(err)
	}
	for i, layer := range l.chain(ref) {
		name, ok := known[layer]
		if !ok {
			name = digest.FromString(strings.Join(l.entries(layers[i]), "\n")).String()
		}
		chain = append(chain, name)
	}
	return chain
}

// graphs runs the program that makes graphs.
func graphs(t testing.TB, args ...string) []byte {
	t.Helper()
	program, err := place.Component("graphs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("graphs %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

// buildGraph builds a graph and pushes the image as name.
func (l lab) buildGraph(kind string, graph []byte, name string) (ref string) {
	l.Helper()
	ref, err := l.try(kind, worker.Build{Dir: l.project(nil), Graph: graph}, name, "oci-mediatypes=true")
	if err != nil {
		l.Fatal(err)
	}
	return ref
}

// sources puts the images that graphs are made of in the registry: in a plain
// form, since overlayfs shows the index of a lazy layer as a file, and in a
// lazy one.
func (l lab) sources() (plain, lazy sources) {
	l.Helper()
	base := l.Push("debian-python", image.Gzip)
	plain = sources{"tools": base, "base": base, "below": l.lowest(base, 2), "lowest": l.lowest(base, 1),
		"other": l.other(base, "gzip"), "small": l.Push("busybox", image.Gzip)}
	lazy = sources{"tools": l.base, "base": l.base, "below": l.lowest(l.base, 2), "lowest": l.lowest(l.base, 1),
		"other": l.other(base, "estargz"), "small": l.Push("busybox", image.EStargz)}
	return plain, lazy
}

// other builds an image that has nothing to do with the base, but many of its
// files.
func (l lab) other(base, compression string) (ref string) {
	l.Helper()
	dir := l.project(map[string]string{"Dockerfile": `ARG BASE
FROM ${BASE} AS base
RUN echo other >>/etc/passwd && rm -r /etc/cron.daily /etc/shells && mkdir /etc/shells && chmod 0711 /etc/pam.d
RUN touch -d 2002-03-04 /usr/share/doc/tar && rm /usr/bin/cat
FROM scratch
COPY --from=base /etc /etc
COPY --from=base /usr/bin/[a-e]* /usr/bin/
COPY --from=base /usr/share/doc/[a-f]* /usr/share/doc/
COPY --from=base /opt /opt
`})
	b := worker.Build{Dir: dir, Args: l.args()}
	b.Args["BASE"] = base
	ref, err := l.try(onOverlayfs, b, "other-"+compression, "rewrite-timestamp=true,oci-mediatypes=true,force-compression=true,compression="+compression)
	if err != nil {
		l.Fatal(err)
	}
	return ref
}

// lowest is an image of the n lowest layers of another one.
func (l lab) lowest(of string, n int) (ref string) {
	l.Helper()
	host, path, _ := strings.Cut(of, "/")
	to, err := registry.PushLowest(l.Context(), l.Registry.Addr, path, n)
	if err != nil {
		l.Fatal(err)
	}
	return host + "/" + to
}
