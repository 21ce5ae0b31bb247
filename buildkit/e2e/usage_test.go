package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// usage is an entry of a worker's build cache, with its size in bytes.
type usage struct {
	ID          string `json:"id"`
	Size        int64  `json:"size"`
	RecordType  string `json:"recordType"`
	Description string `json:"description"`
}

func (l lab) usage(kind string) (all []usage) {
	l.Helper()
	out, err := l.workers[kind].Buildctl(l.Context(), "du", "--format", "{{json .}}")
	if err != nil {
		l.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		l.Fatal(err)
	}
	return all
}

// cacheMounts is how many directories for cache mounts a worker has.
func (l lab) cacheMounts(kind string) (n int) {
	l.Helper()
	for _, u := range l.usage(kind) {
		if u.RecordType == "exec.cachemount" {
			n++
		}
	}
	return n
}

// ownSize is what each step of TestUsageAndCollection writes.
const ownSize = 20_000_000

// What is built on a lazy image counts, and is collected when the cache is too
// large. What ladle has of the image does not.
func TestUsageAndCollection(t *testing.T) {
	kinds := []string{onOverlayfs, ladleOnOCI, ladleOnContainerd}
	l := newLab(t, labOptions{kinds: kinds, recipe: smallRecipe})
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			own := func() (size int64) {
				for _, u := range l.usage(kind) {
					if strings.Contains(u.Description, "/own") {
						size += u.Size
					}
				}
				return size
			}
			for i := range 5 {
				steps := fmt.Sprintf("RUN head -c %d /dev/zero | tr '\\0' '%d' >/own\nRUN echo %d >/last\n", ownSize, i, i)
				dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\n" + steps})
				if _, err := l.workers[kind].Build(t.Context(), worker.Build{Dir: dir, Args: map[string]string{"BASE": l.base}}); err != nil {
					t.Fatal(err)
				}
			}
			if got := own(); got < 5*ownSize || got > 6*ownSize {
				t.Errorf("five steps of %d bytes have %d", ownSize, got)
			}
			// The layers of the image are on BuildKit's disk with overlayfs alone.
			var base int64
			for _, u := range l.usage(kind) {
				if strings.Contains(u.Description, "pulled from") {
					base += u.Size
				}
			}
			if kind != onOverlayfs && base != 0 {
				t.Errorf("the lazy image counts %d bytes", base)
			}
			keep := (base + 3*ownSize) / 1_000_000
			if _, err := l.workers[kind].Buildctl(t.Context(), "prune", "--keep-storage", fmt.Sprint(keep)); err != nil {
				t.Fatal(err)
			}
			if got := own(); got > 3*ownSize+ownSize/2 || got < ownSize {
				t.Errorf("%d bytes are left of steps, %d MB were to be kept", got, keep)
			}
			l.prune(kind)
		})
	}
}
