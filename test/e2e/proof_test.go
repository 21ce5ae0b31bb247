package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// lazyPacked is a layer of a tar, eStargz if it has the digest of a TOC.
type lazyPacked struct {
	packed
	toc string
}

func lazily(tarball []byte) (*lazyPacked, error) {
	built, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tarball), 0, int64(len(tarball))))
	if err != nil {
		return nil, err
	}
	defer built.Close()
	p := &lazyPacked{toc: built.TOCDigest().String()}
	p.mediaType = types.OCILayer
	if p.data, err = io.ReadAll(built); err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(p.data))
	if err == nil {
		p.tarball, err = io.ReadAll(r)
	}
	return p, err
}

// plainly is a plain layer of a tar.
func plainly(tarball []byte) (*lazyPacked, error) {
	p, err := packings[0](tarball)
	return &lazyPacked{packed: *p}, err
}

func (p *lazyPacked) addendum() mutate.Addendum {
	if p.toc == "" {
		return mutate.Addendum{Layer: p, MediaType: p.mediaType}
	}
	return mutate.Addendum{Layer: p, MediaType: p.mediaType, Annotations: map[string]string{estargz.TOCJSONDigestAnnotation: p.toc}}
}

// claimed are two images with a file /which each, of which one claims the diffID of the
// other one's layer.
type claimed struct{ honest, liar string }

func (l lab) claimed(name string, pack func(tarball []byte) (*lazyPacked, error)) (c claimed) {
	l.Helper()
	like := l.image("busybox", image.EStargz)
	lowest, err := layerOf(like, 0)
	if err != nil {
		l.Fatal(err)
	}
	top, err := pack(l.tarOf("/which", "right "+name+"\n"))
	if err != nil {
		l.Fatal(err)
	}
	forged, err := pack(l.tarOf("/which", "wrong "+name+"\n"))
	if err != nil {
		l.Fatal(err)
	}
	forged.tarball = top.tarball // its config says so
	push := func(name string, top *lazyPacked) string {
		var img v1.Image
		if img, err = assemble(like, lowest, top.addendum()); err != nil {
			l.Fatal(err)
		}
		return l.push(&image.Image{Name: name, Format: image.EStargz, Image: img})
	}
	return claimed{push("honest-"+name, top), push("liar-"+name, forged)}
}

// TestLayersAreProved: the tar of lazily read layers in use is proved in the background. An
// image that claimed another's diffID before that is found out, and is not what the other
// one's containers get.
func TestLayersAreProved(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	c := l.claimed("proved", lazily)
	l.Pull("ladle", c.liar)
	liar := l.detached("ladle", c.liar) // nobody knows yet
	layers := 1
	for _, format := range []image.Format{image.EStargz, image.ZstdChunked} {
		img := l.image("busybox", format)
		ref := l.push(img)
		l.Pull("ladle", ref)
		l.detached("ladle", ref)
		all, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		layers += len(all)
	}
	const lie = "an image claims"
	wait(t, "all layers to be known", func() bool {
		return strings.Count(l.daemonLog(), "layer is proved")+strings.Count(l.daemonLog(), lie) >= layers-1 // one is of two images
	})
	if n := strings.Count(l.daemonLog(), lie); n != 1 || strings.Contains(l.daemonLog(), "out of service") {
		t.Errorf("%d lies were found", n)
	}

	l.Pull("ladle", c.honest)
	for _, ref := range []string{c.honest, c.liar} {
		out, err := l.Node.Run(t.Context(), stack.Container{Snapshotter: "ladle", Ref: ref, Args: []string{"cat", "/which"}})
		if err == nil || !strings.Contains(err.Error(), "an image claimed another's layer") {
			t.Errorf("%s runs, with %q: %v", ref, out, err)
		}
	}
	if err := l.Node.Remove(t.Context(), liar); err != nil {
		t.Fatal(err)
	}
	l.Ctr("images", "rm", c.liar)
	l.Ctr("images", "rm", "--sync", c.honest)
	l.Pull("ladle", c.honest)
	if got := l.Run("ladle", c.honest, "cat", "/which"); got != "right proved\n" {
		t.Errorf("the other image has %q", got)
	}
}
