package e2e

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/link"
)

// A linked copy onto an image is built and pushed without a byte of it.
func TestLinkedCopyFetchesNothing(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	for _, kind := range onLadle {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			dir := l.project(map[string]string{
				"Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY --link hello /opt/hello\n", "hello": "hello\n",
			})
			l.Link.Reset()
			ref := l.build(kind, dir, "linked")
			if got := l.fetched(); got > 100_000 {
				t.Errorf("%d bytes were fetched", got)
			}
			if base, built := l.layers(l.base), l.layers(ref); len(built) != len(base)+1 {
				t.Errorf("the image has %d layers, its base %d", len(built), len(base))
			}
			if up := l.Link.Counters().BytesUp; up > 100_000 {
				t.Errorf("%d bytes were pushed", up)
			}
		})
	}
}

// What a build does not read is not fetched. How much is fetched at a time
// depends on the link.
func TestBuildsFetchWhatTheyRead(t *testing.T) {
	newLab(t, labOptions{kinds: onLadle, profile: home}).fetchesWhatIsRead(t, onLadle)
}

// home is a link on which a build that fetches too much shows.
var home = link.Profile{RTT: 20 * time.Millisecond, Bandwidth: 200e6}

// fetchesWhatIsRead builds on workers of kinds, over a link of profile home, and
// counts what is fetched.
func (l lab) fetchesWhatIsRead(t *testing.T, kinds []string) {
	for name, test := range map[string]struct {
		steps string
		most  float64 // part of the base's compressed size
	}{
		"run":            {"FROM ${BASE}\nRUN test -s /etc/passwd\n", 0.2},
		"copy file":      {"FROM scratch\nCOPY --from=base /etc/passwd /\n", 0.05},
		"copy directory": {"FROM scratch\nCOPY --from=base /etc/apt /apt\n", 0.05},
		"copy wildcard":  {"FROM scratch\nCOPY --from=base /usr/share/doc/*/copyright /copyrights/\n", 0.2},
		"copy to stage":  {"FROM ${BASE}\nCOPY --from=base /etc/passwd /copied\n", 0.05},
		"linked copy":    {"FROM ${BASE}\nCOPY --link hello /etc/hello\nRUN test -s /etc/hello\n", 0.2},
	} {
		for _, kind := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE} AS base\n" + test.steps, "hello": "hello\n"})
				l.Link.Reset()
				l.build(kind, dir, "")
				got, size := l.fetched(), l.size(l.base)
				if float64(got) > test.most*float64(size) {
					t.Errorf("%d of %d bytes were fetched, want at most %g of them", got, size, test.most)
				}
				l.prune(kind) // the next one starts with nothing
			})
		}
	}
}

// An image that is exported is there in full.
func TestExportPullsWhatItNeeds(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	for _, kind := range onLadle {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN echo text >/text\n"})
			l.Link.Reset()
			ref := l.build(kind, dir, "exported")
			if got, size := l.fetched(), l.size(l.base); got > size/2 {
				t.Errorf("%d of %d bytes were fetched before the export", got, size)
			}
			dest := filepath.Join(t.TempDir(), "image.tar")
			b := worker.Build{Dir: dir, Args: l.args(), Output: "type=oci,rewrite-timestamp=true,dest=" + dest}
			if _, err := l.workers[kind].Build(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			sizes := tarSizes(t, dest)
			for digest, size := range l.layers(ref) {
				name := "blobs/" + strings.Replace(digest, ":", "/", 1)
				if sizes[name] != size {
					t.Errorf("%s has %d bytes in the archive, %d in the registry", name, sizes[name], size)
				}
			}
		})
	}
}

// tarSizes is the sizes of the files in an archive.
func tarSizes(t *testing.T, name string) map[string]int64 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sizes := map[string]int64{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return sizes
		}
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		sizes[h.Name] = h.Size
	}
}
