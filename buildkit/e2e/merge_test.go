package e2e

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
)

// Merges and diffs of lazy images fetch nothing of their files.
func TestMergesFetchNothing(t *testing.T) {
	l := newLab(t, labOptions{kinds: append([]string{onOverlayfs}, merging...)})
	_, images := l.sources()
	images["wide"] = l.Push("hostile-wide", image.EStargz)
	for _, kind := range merging {
		// The program that walks, and the tables of contents.
		l.Link.Reset()
		for _, name := range []string{"walk-base", "walk-other", "walk-all-wide"} {
			l.walk(kind, images, name)
		}
		if got, size := l.fetched(), l.size(images["base"])+l.size(images["other"])+l.size(images["wide"]); got > size/3 {
			t.Errorf("%d of %d bytes were fetched to walk the images", got, size)
		}
		for _, name := range []string{"walk-merge", "walk-wide", "walk-diff-parent", "walk-diff-ancestor", "walk-diff-unrelated", "walk-merge-diff"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				l.Link.Reset()
				l.walk(kind, images, name)
				if got := l.fetched(); got > 50_000 {
					t.Errorf("%d bytes were fetched", got)
				}
			})
		}
	}
	l.pruneAll()
}

func (l lab) walk(kind string, images sources, name string) {
	l.Helper()
	b := worker.Build{Dir: l.project(nil), Graph: images.graph(l.TB, name)}
	if _, err := l.try(kind, b, "", ""); err != nil {
		l.Fatal(err)
	}
}

// Without ladle behind it, ladle-buildkitd is BuildKit.
func TestWithoutLadle(t *testing.T) {
	l := newLab(t, labOptions{kinds: []string{onOverlayfs, ladleOnOverlayfs}})
	dir := l.context()
	write(t, filepath.Join(dir, "Dockerfile"), "ARG BASE\nFROM ${BASE}\nRUN rm -r /etc/apt\nCOPY --link src /etc/src\nRUN rm /etc/src/two.c && ls /etc >/list\n")
	want, got := l.chain(l.build(onOverlayfs, dir, "without")), l.chain(l.build(ladleOnOverlayfs, dir, "without"))
	if !slices.Equal(got, want) {
		t.Errorf("there are the layers %v, on BuildKit %v", got, want)
	}
}

// Linked copies, with a command after each, are on disk once: the merges before
// each command are made of what is there.
func TestTwentyLinkedCopies(t *testing.T) {
	l := newLab(t, labOptions{kinds: merging})
	const copies, size = 20, 2_000_000
	files := map[string]string{"warm/Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN true\n"}
	text := "ARG BASE\nFROM ${BASE}\n"
	for i := range copies {
		files[fmt.Sprint("file", i)] = strings.Repeat(string(rune(0x61+i)), size)
		text += fmt.Sprintf("COPY --link file%[1]d /copied/file%[1]d\nRUN echo %[1]d >/made%[1]d\n", i)
	}
	files["Dockerfile"] = text
	dir := l.project(files)
	for _, kind := range merging {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			l.build(kind, filepath.Join(dir, "warm"), "")
			before := l.onDisk()
			steps, err := l.workers[kind].Steps(t.Context(), worker.Build{Dir: dir, Args: l.args()})
			if err != nil {
				t.Fatal(err)
			}
			merges := slices.DeleteFunc(steps, func(s worker.Step) bool { return s.Merging == 0 })
			if len(merges) != copies {
				t.Fatalf("there are %d merges", len(merges))
			}
			t.Logf("the first merge took %v, the last one %v", merges[0].Merging, merges[copies-1].Merging)
			// The context is one more copy, which BuildKit keeps.
			if grown := l.onDisk() - before; grown < 2*copies*size || grown > 2.2*copies*size {
				t.Errorf("%d bytes more are on disk after %d copies of %d bytes", grown, copies, size)
			}
		})
	}
	l.pruneAll()
}

// onDisk is how many bytes the snapshots of all endpoints have.
func (l lab) onDisk() (bytes int64) {
	l.Helper()
	seen := map[uint64]bool{}
	err := filepath.WalkDir(filepath.Join(l.Node.Daemon(plugin).Root, "e"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if s := info.Sys().(*syscall.Stat_t); !seen[s.Ino] {
			seen[s.Ino] = true
			bytes += s.Blocks * 512
		}
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	return bytes
}
