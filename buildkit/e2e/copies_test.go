package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// What ladle-buildkitd copies from stage to stage by links is what BuildKit's
// copier makes on overlayfs, layer for layer. The first line of each Dockerfile
// says how many copies are to be made so.
func TestLinkedCopiesAreTheSame(t *testing.T) {
	l := newLab(t, labOptions{kinds: []string{onOverlayfs, ladleOnOCI, ladleOnContainerd}})
	files, err := filepath.Glob("testdata/copies/*.Dockerfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Dockerfiles: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".Dockerfile")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var wanted int
			if _, err := fmt.Sscanf(string(text), "# linked: %d", &wanted); err != nil {
				t.Fatal(err)
			}
			l := l.as(t)
			dir := l.context()
			write(t, filepath.Join(dir, "Dockerfile"), string(text))
			l.sameStages(dir, name, wanted)
		})
	}
}

// sameStages builds each stage of a Dockerfile on all workers, and compares the
// layers.
func (l lab) sameStages(dir, name string, wanted int) {
	l.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		l.Fatal(err)
	}
	targets := []string{""}
	for _, stage := range regexp.MustCompile(`(?m)^FROM .* AS (\w+)$`).FindAllStringSubmatch(string(text), -1) {
		targets = append(targets, stage[1])
	}
	wants := map[string]string{} // references by target
	for _, target := range targets {
		wants[target] = l.buildStage(onOverlayfs, dir, name, target)
	}
	for _, kind := range merging {
		before := l.linked(kind)
		for _, target := range targets {
			ref := l.buildStage(kind, dir, name, target)
			if got, want := l.chain(ref), l.chain(wants[target]); !slices.Equal(got, want) {
				l.Errorf("stage %q on the %s worker has\n%s\non overlayfs\n%s", target, kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
				l.logDifference(wants[target], ref)
			}
		}
		if n := l.linked(kind) - before; n != wanted {
			l.Errorf("on the %s worker ladle made %d copies, want %d", kind, n, wanted)
		}
	}
}

// buildStage builds a stage and pushes it.
func (l lab) buildStage(kind, dir, name, target string) (ref string) {
	l.Helper()
	b := worker.Build{Dir: dir, Args: l.args()}
	if target != "" {
		b.Flags = []string{"--opt", "target=" + target}
	}
	ref, err := l.try(kind, b, name+"-"+target+"end", "rewrite-timestamp=true")
	if err != nil {
		l.Fatal(err)
	}
	return ref
}

// linked is how many copies ladle has made for a worker. Those that it cannot make
// are no reason to warn.
func (l lab) linked(kind string) int {
	l.Helper()
	log, err := os.ReadFile(filepath.Join(l.workers[kind].Dir, "buildkitd.log"))
	if err != nil {
		l.Fatal(err)
	}
	if warning := regexp.MustCompile(`.*level=warning msg="ladle: copy failed.*`).Find(log); warning != nil {
		l.Errorf("on the %s worker: %s", kind, warning)
	}
	return bytes.Count(log, []byte("ladle: copy made of links"))
}
