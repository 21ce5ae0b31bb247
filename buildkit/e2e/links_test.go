package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
)

// What Docker announced COPY --link with, by the bytes that pass the link.

const linkedFrom = `ARG BASE
ARG SMALL
FROM ${SMALL} AS built
RUN echo built >/built
FROM ${BASE}
COPY --link --from=built /built /opt/built
LABEL some=label
`

// ran are the commands that a build runs: those that are not in the cache.
func (l lab) ran(kind string, b worker.Build) (commands []string) {
	l.Helper()
	l.Link.Reset()
	steps, err := l.workers[kind].Steps(l.Context(), b)
	if err != nil {
		l.Fatal(err)
	}
	for _, s := range steps {
		if strings.Contains(s.Name, "RUN ") || strings.Contains(s.Name, "COPY ") {
			commands = append(commands, s.Name)
		}
	}
	return commands
}

// few fails if more bytes were fetched or pushed since the last reset.
func (l lab) few(down, up int64) {
	l.Helper()
	if c := l.Link.Counters(); c.BytesDown > down || c.BytesUp > up {
		l.Errorf("%d bytes were fetched, want at most %d; %d pushed, want at most %d", c.BytesDown, down, c.BytesUp, up)
	}
}

func (l lab) push(name string) string {
	return fmt.Sprintf("type=image,push=true,store=false,oci-mediatypes=true,name=%s/%s", l.Link.Addr(), name)
}

// A build of metadata only, and linked copies from another stage, are pushed
// without the base.
func TestPushWithoutTheBase(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	small := l.Push("busybox", image.EStargz)
	for _, kind := range onLadle {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			b := worker.Build{Dir: l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nENV A=b\nLABEL c=d\n"}),
				Args: l.args(), Output: l.push("metadata-" + kind)}
			l.ran(kind, b)
			l.few(100_000, 100_000)
			b.Dir, b.Output = l.project(map[string]string{"Dockerfile": linkedFrom}), l.push("linked-"+kind)
			b.Args["SMALL"] = small
			l.ran(kind, b)
			l.few(l.size(small)+100_000, 100_000)
		})
	}
}

// On another base, with a cache that was exported, nothing runs and nothing of
// either base is pulled.
func TestRebase(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	other := l.lowest(l.base, 2)
	for _, kind := range onLadle {
		for _, cache := range []string{"inline", "registry"} {
			t.Run(cache+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				b := worker.Build{Dir: l.project(map[string]string{"Dockerfile": linkedFrom}), Args: l.args()}
				b.Args["SMALL"] = l.Push("busybox", image.EStargz)
				name := "rebase-" + cache + "-" + kind
				b.Output = l.push(name)
				from := l.Link.Addr() + "/" + name
				b.Flags = []string{"--export-cache", "type=inline"}
				if cache == "registry" {
					from += "-cache"
					b.Flags = []string{"--export-cache", "type=registry,mode=max,ref=" + from}
				}
				if ran := l.ran(kind, b); len(ran) == 0 {
					t.Error("nothing was built")
				}
				l.prune(kind)
				b.Args["BASE"], b.Output, b.Flags = other, l.push(name+"-other"), []string{"--import-cache", "type=registry,ref=" + from}
				if ran := l.ran(kind, b); slices.ContainsFunc(ran, func(s string) bool { return strings.Contains(s, "RUN ") }) {
					t.Errorf("on another base it ran %q", ran)
				}
				l.few(100_000, 100_000)
				if got, want := len(l.layers(l.Link.Addr()+"/"+name+"-other")), len(l.layers(other))+1; got != want {
					t.Errorf("the image on another base has %d layers, want %d", got, want)
				}
				l.prune(kind)
			})
		}
	}
}

// Of two linked copies only the one whose files changed is made and pushed
// again, also if it is the first.
func TestOneOfTwoLinkedCopies(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	for _, kind := range onLadle {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			dir := l.project(map[string]string{"one": "one\n", "two": strings.Repeat("two\n", 1_000_000),
				"Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY --link one /one\nCOPY --link two /two\n"})
			b := worker.Build{Dir: dir, Args: l.args(), Output: l.push("two-" + kind)}
			if ran := l.ran(kind, b); len(ran) < 2 {
				t.Errorf("it ran %q", ran)
			}
			before := l.chain(l.Link.Addr() + "/two-" + kind)
			write(t, filepath.Join(dir, "one"), "changed\n")
			if ran := l.ran(kind, b); slices.ContainsFunc(ran, func(s string) bool { return strings.Contains(s, "two /two") && !strings.Contains(s, "LINK") }) {
				t.Errorf("it ran %q", ran)
			}
			l.few(50_000, 20_000)
			after := l.chain(l.Link.Addr() + "/two-" + kind)
			n := len(before)
			if before[n-2] == after[n-2] || before[n-1] != after[n-1] {
				t.Errorf("the layers were %v, then %v", before, after)
			}
		})
	}
}
