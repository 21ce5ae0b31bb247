package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
)

// With force-compression, the layers of a lazy base are converted if they are on
// overlayfs, to the same blobs, and are left as they are if those are.
func TestForcedCompressionOfLazyBase(t *testing.T) {
	kinds := []string{onOverlayfs, ladleOnOCI, ladleOnContainerd}
	l := newLab(t, labOptions{kinds: kinds})
	for _, c := range []struct {
		compression string
		format      image.Format
	}{
		{"zstd", image.EStargz}, {"gzip", image.EStargz}, {"uncompressed", image.EStargz}, {"estargz", image.EStargz},
		{"zstd", image.ZstdChunked}, {"estargz", image.ZstdChunked},
	} {
		for _, output := range []string{"oci", "push"} {
			t.Run(fmt.Sprintf("%s/of %s/%s", c.compression, c.format, output), func(t *testing.T) {
				l := l.as(t)
				base := l.Push("busybox", c.format)
				steps := "FROM " + base + "\nRUN echo z >/z\n"
				options := "oci-mediatypes=true,force-compression=true,compression=" + c.compression
				var want []string
				for _, kind := range kinds {
					if kind == ladleOnContainerd && c.compression != "zstd" {
						continue
					}
					got := l.converted(kind, output, steps, options)
					got = got[:len(got)-1] // what the step makes has the time in it
					if kind == onOverlayfs {
						want = got
					} else if !slices.Equal(got, want) {
						t.Errorf("%s makes of the base\n%s\noverlayfs\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
			})
		}
	}
}

// converted builds on a worker that has nothing, and returns the layers of what
// comes out as "digest media-type".
func (l lab) converted(kind, output, steps, options string) (layers []string) {
	l.Helper()
	l.prune(kind)
	b := worker.Build{Dir: l.project(map[string]string{"Dockerfile": steps})}
	dest := filepath.Join(l.TempDir(), "image.tar")
	ref := fmt.Sprintf("%s/converted:%s", l.Link.Addr(), kind)
	b.Output = "type=oci,dest=" + dest + "," + options
	if output == "push" {
		b.Output = "type=image,push=true,store=false,name=" + ref + "," + options
	}
	if _, err := l.workers[kind].Build(l.Context(), b); err != nil {
		l.Fatal(err)
	}
	var manifest *v1.Manifest
	if output == "push" {
		manifest = l.manifestOf(ref)
	} else {
		manifest = l.archived(dest)
	}
	for _, d := range manifest.Layers {
		layers = append(layers, fmt.Sprintf("%s %s", d.Digest, d.MediaType))
	}
	l.prune(kind)
	return layers
}

func (l lab) manifestOf(ref string) *v1.Manifest {
	l.Helper()
	manifest, err := l.image(ref).Manifest()
	if err != nil {
		l.Fatal(err)
	}
	return manifest
}

// archived is the manifest of the image in an archive.
func (l lab) archived(name string) *v1.Manifest {
	l.Helper()
	f, err := os.Open(name)
	if err != nil {
		l.Fatal(err)
	}
	defer f.Close()
	files := map[string][]byte{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && h.Size < 1<<20 { // else it is a layer
			files[h.Name], err = io.ReadAll(tr)
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		l.Fatalf("the archive has the index %s: %v", files["index.json"], err)
	}
	d := index.Manifests[0].Digest
	var manifest v1.Manifest
	if err := json.Unmarshal(files["blobs/"+d.Algorithm+"/"+d.Hex], &manifest); err != nil {
		l.Fatal(err)
	}
	return &manifest
}

// An image is made eStargz without what is eStargz already: nothing of a lazy
// base is fetched for it.
func TestForcedEStargzFetchesNothing(t *testing.T) {
	kinds := []string{ladleOnOCI, ladleOnContainerd}
	l := newLab(t, labOptions{kinds: kinds})
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN echo z >/z\n"})
			l.Link.Reset()
			ref := l.buildTo(kind, dir, "forced", "compression=estargz,force-compression=true,oci-mediatypes=true")
			if got, size := l.fetched(), l.size(l.base); got > size/5 {
				t.Errorf("%d of %d bytes were fetched", got, size)
			}
			if base, built := l.chain(l.base), l.chain(ref); len(built) != len(base)+1 || !slices.Equal(base, built[:len(base)]) {
				t.Errorf("on the base %q is %q", base, built)
			}
			for _, layer := range l.manifestOf(ref).Layers {
				if layer.Annotations["containerd.io/snapshot/stargz/toc.digest"] == "" {
					t.Errorf("layer %s does not say what its table of contents is", layer.Digest)
				}
			}
		})
	}
	// This lab has a worker that has nothing else to do.
	t.Run("image of deploy/Dockerfile", func(t *testing.T) { l.as(t).hasTheProgramAlone(ladleOnOCI) })
}
