package e2e

import (
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// lowestDockerfile copies and binds a whole image. Whatever is in it is listed
// in its last layer, but for what only the format of lazy layers has.
const lowestDockerfile = `ARG BASE
FROM ${BASE} AS base
FROM ${SHELL}
COPY --from=base / /copied
RUN --mount=type=bind,from=base,source=/,target=/bound \
    find /bound /copied -mindepth 1 ! -name stargz.index.json ! -name .no.prefetch.landmark \
    -printf '%y %m %U:%G %p %l\n' | sort >/list
`

// TestLowestLayerWithWhiteouts: whiteouts and opaque marks in the lowest layer
// of an image mean nothing, and nobody sees them.
func TestLowestLayerWithWhiteouts(t *testing.T) {
	l := newLab(t, labOptions{kinds: everyKind()})
	shell := l.base
	edits := l.editsAlone()
	last := func(kind string) string {
		l.base = edits
		dir := l.project(map[string]string{"Dockerfile": "ARG SHELL=" + shell + "\n" + lowestDockerfile})
		chain := l.chain(l.build(kind, dir, "whiteouts"))
		return chain[len(chain)-1]
	}
	want := last(onOverlayfs)
	for _, kind := range onLadle {
		if got := last(kind); got != want {
			t.Errorf("on %s: the list is %s, want %s", kind, got, want)
		}
	}
}

// editsAlone puts an image in the registry whose only layer is the topmost of
// the base, which takes away files of those below it.
func (l lab) editsAlone() (ref string) {
	l.Helper()
	base := l.image(l.base)
	layers, err := base.Layers()
	if err != nil {
		l.Fatal(err)
	}
	manifest, err := base.Manifest()
	if err != nil {
		l.Fatal(err)
	}
	top := len(layers) - 1
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer: layers[top], Annotations: manifest.Layers[top].Annotations, MediaType: manifest.Layers[top].MediaType,
	})
	if err != nil {
		l.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, withPlatform(img)); err != nil {
		l.Fatal(err)
	}
	tag, err := name.NewTag(l.Registry.Addr + "/edits:only")
	if err != nil {
		l.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		l.Fatal(err)
	}
	return l.Link.Addr() + "/edits:only"
}

func withPlatform(img v1.Image) *v1.ConfigFile {
	file, _ := img.ConfigFile()
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	return file
}
