package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/identity"
	"github.com/ladle-dev/ladle/test/image"
)

// identityDockerfile runs the script of package identity on lazy layers, a local
// one and a merge.
const identityDockerfile = `ARG BASE
FROM ${BASE} AS ran
RUN mkdir /srv/below && echo below >/srv/below/file && echo >>/etc/shells
COPY --link identity.py /srv/identity.py
RUN python3 /srv/identity.py >/report.json
FROM scratch
COPY --from=ran /report.json /
`

// TestFilesOfLazyImages looks at the files of lazy images as steps of builds do, with
// both daemons, beside overlayfs.
func TestFilesOfLazyImages(t *testing.T) {
	l := newLab(t, labOptions{kinds: slices.Concat([]string{onOverlayfs}, stock, merging)})
	t.Run("identity", func(t *testing.T) { l.as(t).sameIdentity(t) })
	t.Run("twice", func(t *testing.T) { l.as(t).sameTwice() })
}

// sameIdentity: files are on one device, with numbers that remain, and linked as
// they were.
func (l lab) sameIdentity(t *testing.T) {
	dir := l.project(map[string]string{"Dockerfile": identityDockerfile, "identity.py": identity.Script})
	want := l.identityIn(onOverlayfs, dir)
	if wrong := want.Wrong(); len(wrong) > 0 || len(want.Links) == 0 {
		t.Errorf("overlayfs: want, is: %s; %d hard link groups", strings.Join(wrong, "\n"), len(want.Links))
	}
	for _, kind := range slices.Concat(stock, merging) {
		t.Run(kind, func(t *testing.T) {
			if differ := identity.Diff(want, l.as(t).identityIn(kind, dir)); len(differ) > 0 {
				t.Errorf("overlayfs, ladle:\n%s", strings.Join(differ, "\n"))
			}
		})
	}
}

// identityIn builds a project while the machine forgets its dentries.
func (l lab) identityIn(kind, dir string) identity.Report {
	l.Helper()
	ctx, end := context.WithCancel(l.Context())
	forgot := make(chan error, 1)
	go func() { forgot <- identity.Forget(ctx) }()
	out := l.TempDir()
	_, err := l.workers[kind].Build(l.Context(), worker.Build{Dir: dir, Args: l.args(), Output: "type=local,dest=" + out})
	end()
	if err := errors.Join(err, <-forgot); err != nil {
		l.Fatal(err)
	}
	printed, err := os.ReadFile(filepath.Join(out, "report.json"))
	if err != nil {
		l.Fatal(err)
	}
	report, err := identity.Parse(string(printed))
	if err != nil {
		l.Fatal(err)
	}
	return report
}

// twiceDockerfile runs, copies and merges on an image that has layers twice, and
// is compared with what is below for each layer that it makes.
const twiceDockerfile = `ARG BASE
FROM ${BASE} AS base
FROM base AS ran
RUN rm /only-a && echo new >/d/new
FROM base
COPY --link --from=ran /d /linked
COPY --from=ran /d/new /copied
RUN --mount=type=bind,from=base,source=/d,target=/bound ls /bound /d /linked >/list && cat /bound/* >>/list
COPY --link --from=base /f /f
RUN cat /f /d/a >/list
`

// sameTwice: an image with layers more than once is built on, and copied and bound
// from, as on overlayfs.
func (l lab) sameTwice() {
	shell := l.base
	l.base = l.Push("twice", image.EStargz)
	whole := l.project(map[string]string{"Dockerfile": "ARG SHELL=" + shell + "\n" + lowestDockerfile})
	parts := l.project(map[string]string{"Dockerfile": twiceDockerfile})
	last := func(kind string) string {
		chain := l.chain(l.build(kind, whole, "whole"))
		return chain[len(chain)-1]
	}
	wantList, want := last(onOverlayfs), l.chain(l.build(onOverlayfs, parts, "parts"))
	for _, kind := range onLadle {
		if got := last(kind); got != wantList {
			l.Errorf("on %s: the list of the whole image is %s, want %s", kind, got, wantList)
		}
		ref := l.build(kind, parts, "parts")
		if got := l.chain(ref); !slices.Equal(got, want) {
			l.Errorf("on the %s worker there are\n%s\non overlayfs\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
			l.logDifference(strings.TrimSuffix(ref, kind)+onOverlayfs, ref)
		}
	}
}
