package e2e

import (
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// A cache mount that begins as a lazy image's directory is one for all builds.
func TestCacheMountOnLazyImage(t *testing.T) {
	kinds := []string{onOverlayfs, ladleOnOCI, ladleOnContainerd}
	l := newLab(t, labOptions{kinds: kinds})
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			// write is a step that finds what was written before, in each build: each has
			// another text, so that none is in the cache.
			write := func(before, now string) {
				t.Helper()
				dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE} AS base\nFROM ${BASE}\n" +
					"RUN --mount=type=cache,id=c,from=base,source=/etc/apt,target=/c test -d /c/apt.conf.d && " +
					"test \"$(cat /c/log 2>/dev/null)\" = '" + before + "' && printf " + now + " >>/c/log\n"})
				if _, err := l.workers[kind].Build(t.Context(), worker.Build{Dir: dir, Args: map[string]string{"BASE": l.base}}); err != nil {
					t.Error(err)
				}
			}
			write("", "a")
			mounts := l.cacheMounts(kind)
			write("a", "b")
			if err := l.workers[kind].Close(); err != nil {
				t.Fatal(err)
			}
			l.restart(l.workers[kind].Start)
			write("ab", "c")
			if got := l.cacheMounts(kind); mounts != 1 || got != 1 {
				t.Errorf("%d cache mounts after the first build, %d after the third", mounts, got)
			}
		})
	}
}
