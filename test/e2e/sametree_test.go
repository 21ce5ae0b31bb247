package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
	"github.com/ladle-dev/ladle/test/stack"
)

// A way is a driver and a format, with a daemon of its own, so that no layer is
// there in another format already.
type way struct {
	driver string
	format image.Format
}

func (w way) String() string { return w.driver + "-" + string(w.format) }

func (w way) daemon() stack.Daemon {
	return stack.Ladle(w.String(), fmt.Sprintf("driver = %q\n", w.driver))
}

// comparison is what a test of the same tree compares with overlayfs.
type comparison struct {
	ways    []way
	recipes []string
}

// A container sees the tree that it would see on overlayfs: with each driver,
// and in each format.
func TestSameTreeAsOverlayfs(t *testing.T) {
	comparison{
		recipes: []string{"debian-python", "hostile-parents", "twice"},
		ways: []way{
			{"erofs", image.EStargz}, {"erofs", image.EStargzPrefetch}, {"erofs", image.EStargzExternalTOC}, {"erofs", image.ZstdChunked},
			{"loop", image.EStargz}, {"fuse", image.EStargz}, {"erofs", image.Gzip},
		},
	}.run(t)
}

func TestSameTreeOfHostileImage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	comparison{
		recipes: []string{"hostile"},
		ways:    []way{{"erofs", image.EStargz}, {"loop", image.ZstdChunked}, {"fuse", image.EStargz}, {"erofs", image.Gzip}},
	}.run(t)
	for _, name := range []string{"/tmp/ladle-escaped", "/escape-up", "/escape-absolute", "/escape-dots"} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s was written on the host", name)
		}
	}
}

func (c comparison) run(t *testing.T) {
	var daemons []stack.Daemon
	for _, w := range c.ways {
		daemons = append(daemons, w.daemon())
	}
	l := newLab(t, daemons...)
	for _, recipe := range c.recipes {
		want, began := l.overlayfs(recipe)
		for _, w := range c.ways {
			t.Run(recipe+"/"+w.String(), func(t *testing.T) {
				l := l.as(t)
				ref := l.Push(recipe, w.format)
				l.Pull(w.String(), ref)
				l.same(began, want, l.list(w.String(), ref))
				if w.format == image.Gzip {
					return // containerd has fetched it for overlayfs
				}
				if fetched := l.fetched(l.image(recipe, w.format)); len(fetched) > 0 {
					t.Errorf("containerd fetched the layers %q", fetched)
				}
			})
		}
	}
}

// plain is the listing of a recipe's image on overlayfs, and a time before it
// was unpacked. The tests run one after the other.
type plain struct {
	listing sametree.Listing
	began   time.Time
}

var plains = map[string]plain{}

// overlayfs lists a recipe's image in its ordinary form on overlayfs, once for
// all tests.
func (l lab) overlayfs(recipe string) (listing sametree.Listing, began time.Time) {
	l.Helper()
	p, ok := plains[recipe]
	if !ok {
		p.began = time.Now()
		ref := l.Push(recipe, image.Gzip)
		l.Pull("overlayfs", ref)
		p.listing = l.list("overlayfs", ref)
		plains[recipe] = p
	}
	return p.listing, p.began
}

// same fails the test if the listings differ. Times from began on are those of
// the test: what a container changed, and on overlayfs the directories that no
// layer has an entry for, or only lower ones have, which get the time when they
// were unpacked. These are not compared.
func (l lab) same(began time.Time, overlayfs, ladle sametree.Listing) {
	l.Helper()
	differences := sametree.Diff(overlayfs, ladle)
	n := len(differences)
	differences = slices.DeleteFunc(differences, func(d sametree.Difference) bool {
		one, other := overlayfs[d.Path], ladle[d.Path]
		return len(d.Attributes) == 1 && strings.HasPrefix(d.Attributes[0], "mtime:") && !sametree.Mtime(one).Before(began) &&
			(one["type"] == "dir" || !sametree.Mtime(other).Before(began))
	})
	if report := sametree.Report(differences); report != "" {
		l.Errorf("overlayfs, ladle:\n%s", report)
	}
	l.Logf("compared %d paths; %d have a time of the test's own", len(overlayfs), n-len(differences))
}
