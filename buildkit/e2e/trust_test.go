package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
)

// trusting are the kinds of workers that have to tell images apart. The name of
// the snapshotter is "stargz" for the last one, too.
var trusting = []string{onOCI, ladleOnOCI, ladleOnContainerd}

// trustDockerfile reads two files of an image in each way, and no others. They are
// what is wanted, or the build fails.
const trustDockerfile = `ARG IMAGE
FROM ${IMAGE} AS image
FROM ${IMAGE}
ARG WANT
COPY --from=image /low /top /copied/
RUN --mount=from=image,source=/low,target=/bound/low --mount=from=image,source=/top,target=/bound/top \
    for dir in "" /copied /bound; do got="$got $(cat $dir/low) $(cat $dir/top)"; done; \
    test "$got" = " ${WANT} ${WANT} ${WANT}"
`

// reads builds with an image whose files /low and /top have a text each.
func (l lab) reads(kind, ref, low, top string) error {
	l.Helper()
	dir := l.project(map[string]string{"Dockerfile": trustDockerfile})
	_, err := l.try(kind, worker.Build{Dir: dir, Args: map[string]string{"IMAGE": ref, "WANT": low + " " + top}}, "", "")
	return err
}

// twoLayers are the lowest and the topmost layer of an image, in which /low and
// /top have a text.
type twoLayers struct {
	low, top forged
	text     string
}

func (l lab) twoLayers(text string, format image.Format) twoLayers {
	l.Helper()
	low, top := l.tarOf(map[string]string{"low": text}), l.tarOf(map[string]string{"top": text})
	return twoLayers{l.pack(low, format, 3), l.pack(top, format, 3), text}
}

// lie is an image, evil, that says of its layers what is true of good's.
type lie struct {
	name       string
	good, evil image.Format
	forge      func(good, evil twoLayers) twoLayers
	kinds      []string // of workers
	same       []string // kinds on which evil is taken for good, if that was there first
}

func claimBoth(good, evil twoLayers) twoLayers {
	return twoLayers{low: evil.low.claiming(good.low), top: evil.top.claiming(good.top)}
}

func claimLowest(good, evil twoLayers) twoLayers {
	return twoLayers{low: evil.low.claiming(good.low), top: good.top}
}

func claimTables(good, evil twoLayers) twoLayers {
	low, top := good.low.annotations[tocAnnotation], good.top.annotations[tocAnnotation]
	return twoLayers{low: evil.low.claiming(good.low).withTOC(low), top: evil.top.claiming(good.top).withTOC(top)}
}

// nameTwice has one blob with two tables of contents, of which the upper one is
// true. BuildKit has one set of labels for both, that of the upper one.
func nameTwice(good, evil twoLayers) twoLayers {
	return twoLayers{low: evil.low.claiming(good.low).withTOC(good.low.annotations[tocAnnotation]), top: evil.low}
}

// BuildKit's own daemon gives a blob that is named twice the place of good's, and
// nothing can be done about it from outside (docs/buildkit.md, "Trust").
var lies = []lie{
	{"estargz", image.EStargz, image.EStargz, claimBoth, trusting, nil},
	{"zstd", image.ZstdChunked, image.ZstdChunked, claimBoth, trusting, nil},
	{"bare zstd", bareZstdChunked, bareZstdChunked, claimBoth, trusting, trusting},
	{"estargz for gzip", image.Gzip, image.EStargz, claimBoth, trusting, nil},
	{"gzip for estargz", image.EStargz, image.Gzip, claimBoth, trusting, nil},
	{"lowest layer", image.EStargz, image.EStargz, claimLowest, trusting, nil},
	{"table of contents", image.EStargz, image.EStargz, claimTables, trusting, stock},
	{"blob twice", image.EStargz, image.EStargz, nameTwice, merging, nil},
}

// An image that claims the diffIDs of another does not get its place, whichever is
// read first: a build that reads it has its bytes, or fails since they are not
// what they are said to be. What claims all that another layer is known by, and
// comes second, is taken for it, as on overlayfs: its own bytes are not read.
func TestImageThatClaimsAnothersDiffIDs(t *testing.T) {
	l := newLab(t, labOptions{kinds: trusting})
	shell := l.shell()
	for _, kind := range trusting {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for i, lie := range lies {
				if !slices.Contains(lie.kinds, kind) {
					continue
				}
				for _, order := range [][]string{{"good", "evil"}, {"evil", "good"}} {
					t.Run(lie.name+"/"+order[0]+" first", func(t *testing.T) {
						l.as(t).tell(lie, kind, order, fmt.Sprint(i, order[0], kind), shell)
					})
				}
			}
		})
	}
}

// tell pushes both images of a lie, with texts of their own, and reads them in an
// order.
func (l lab) tell(lie lie, kind string, order []string, name string, shell forged) {
	l.Helper()
	good, evil := l.twoLayers("good-"+name, lie.good), l.twoLayers("evil-"+name, lie.evil)
	forged := lie.forge(good, evil)
	for _, who := range order {
		if who == "good" {
			if err := l.reads(kind, l.pushed(who, name, good.low, shell, good.top), good.text, good.text); err != nil {
				l.Errorf("good: %v", err)
			}
			continue
		}
		ref, top := l.pushed(who, name, forged.low, shell, forged.top), evil.text
		if bytes.Equal(forged.top.blob, good.top.blob) {
			top = good.text
		}
		err := l.reads(kind, ref, evil.text, top)
		if err != nil && order[0] == "good" && slices.Contains(lie.same, kind) {
			err = l.reads(kind, ref, good.text, good.text)
		}
		if err != nil && !strings.Contains(err.Error(), "expected diffID") {
			l.Errorf("evil: %v", err)
		}
	}
}

// A blob that has the table of contents of another layer, but not its bytes, is
// kept apart by ladle-buildkitd. BuildKit's own daemon takes one for the other, and
// what reads it fails.
func TestBlobWithoutTheBytesOfItsTable(t *testing.T) {
	// A reader of wrong bytes waits for right ones for that long.
	l := newLab(t, labOptions{kinds: trusting, config: "read_timeout_sec = 5\n"})
	shell := l.shell()
	for _, kind := range trusting {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := l.as(t)
			good := l.twoLayers("good-"+kind, image.EStargz)
			evil := l.pushed("evil", kind, l.spoiled(good.low, "low"), shell, good.top)
			if err := l.reads(kind, evil, "good-"+kind, "good-"+kind); err == nil || !strings.Contains(err.Error(), "input/output error") {
				t.Errorf("evil: %v", err)
			}
			err := l.reads(kind, l.pushed("good", kind, good.low, shell, good.top), "good-"+kind, "good-"+kind)
			if err != nil && (kind != onOCI || !strings.Contains(err.Error(), "input/output error")) {
				t.Errorf("good: %v", err)
			}
		})
	}
}

// A layer that is really the same in two blobs works with both, and as lazily as
// if there were only one.
func TestOneDiffIDInTwoBlobs(t *testing.T) {
	l := newLab(t, labOptions{kinds: trusting, profile: home})
	shell := l.shell()
	n := 0
	for name, formats := range map[string][2]func(plain []byte) forged{
		"estargz and gzip": {
			func(plain []byte) forged { return l.pack(plain, image.EStargz, 3) },
			func(plain []byte) forged { return l.gzipped(l.unpacked(l.pack(plain, image.EStargz, 3))) },
		},
		"zstd twice": {
			func(plain []byte) forged { return l.pack(plain, image.ZstdChunked, 1) },
			func(plain []byte) forged { return l.pack(plain, image.ZstdChunked, 4) },
		},
	} {
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			for _, kind := range trusting {
				t.Run(fmt.Sprintf("%s/%v/%s", name, order, kind), func(t *testing.T) {
					l := l.as(t)
					n++
					text := fmt.Sprintf("text-%d", n)
					noise := make([]byte, 8<<20)
					rand.NewChaCha8([32]byte{byte(n)}).Read(noise)
					plain := l.tarOf(map[string]string{"low": text, "noise": string(noise)})
					top := l.pack(l.tarOf(map[string]string{"top": text}), image.EStargz, 3)
					both := [2]forged{formats[0](plain), formats[1](plain)}
					if both[0].diffID != both[1].diffID {
						t.Fatal("these are two layers")
					}
					for _, i := range order {
						ref := l.pushed("same", fmt.Sprint(n, "-", i), both[i], shell, top)
						l.Link.Reset()
						if err := l.reads(kind, ref, text, text); err != nil {
							t.Error(err)
						}
						lazy := both[i].annotations[tocAnnotation] != ""
						if got := l.fetched(); lazy && got > 4<<20 {
							t.Errorf("%d bytes were fetched of image %d", got, i)
						}
					}
				})
			}
		}
	}
	l.pruneAll()
}

// A cache in a local directory is read through its client, so that BuildKit unpacks
// its layers at once, with the diffIDs that they have.
func TestLocalCacheOfEStargz(t *testing.T) {
	kinds := []string{onOverlayfs, ladleOnOCI}
	l := newLab(t, labOptions{kinds: kinds})
	l.base = l.Push("busybox", image.Gzip)
	const dockerfile = "ARG BASE\nFROM ${BASE}\nRUN head -c 20 /dev/urandom >/random\n"
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			cache := filepath.Join(l.TempDir(), "cache")
			build := func(name string, flags ...string) (top string) {
				t.Helper()
				b := worker.Build{Dir: l.project(map[string]string{"Dockerfile": dockerfile}), Args: l.args(), Flags: flags}
				ref, err := l.try(kind, b, name, "oci-mediatypes=true,compression=estargz")
				if err != nil {
					t.Fatal(err)
				}
				chain := l.chain(ref)
				return chain[len(chain)-1]
			}
			want := build("made", "--export-cache", "type=local,dest="+cache+",mode=max,compression=estargz,oci-mediatypes=true")
			l.prune(kind)
			if got := build("imported", "--import-cache", "type=local,src="+cache); got != want {
				t.Errorf("the cache was not used: %s, want %s", got, want)
			}
		})
	}
	l.pruneAll()
}
