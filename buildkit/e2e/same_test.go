package e2e

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An image that is built on ladle is the image that is built on overlayfs,
// layer for layer.
func TestSameLayersAsOverlayfs(t *testing.T) {
	newLab(t, labOptions{kinds: everyKind()}).sameLayers(t, onLadle, func(dockerfile string) string { return dockerfile })
}

// sameLayers builds all Dockerfiles, as change makes them, on overlayfs and on
// workers of kinds, and compares the layers.
func (l lab) sameLayers(t *testing.T, kinds []string, change func(dockerfile string) string) {
	files, err := filepath.Glob("testdata/*.Dockerfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Dockerfiles: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".Dockerfile")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.as(t)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := l.context()
			write(t, filepath.Join(dir, "Dockerfile"), change(string(text)))
			want := l.chain(l.build(onOverlayfs, dir, name))
			for _, kind := range kinds {
				ref := l.build(kind, dir, name)
				if got := l.chain(ref); !slices.Equal(got, want) {
					t.Errorf("on the %s worker there are\n%s\non overlayfs\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
					l.logDifference(strings.TrimSuffix(ref, kind)+onOverlayfs, ref)
				}
			}
		})
	}
}

// context writes a build context with some of everything.
func (l lab) context() (dir string) {
	l.Helper()
	dir = l.project(map[string]string{
		"hello": "hello\n", "src/one.c": "one\n", "src/two.c": "two\n", "src/deep/er/three.c": "three\n",
		"docs/a.txt": "a\n", "docs/b.txt": "b\n", "large": strings.Repeat("0123456789abcdef", 200_000),
	})
	must := func(err error) {
		l.Helper()
		if err != nil {
			l.Fatal(err)
		}
	}
	must(os.Chmod(filepath.Join(dir, "hello"), 0o4755))
	must(os.Mkdir(filepath.Join(dir, "src", "empty"), 0o700))
	must(os.Symlink("one.c", filepath.Join(dir, "src", "link.c")))
	must(os.Link(filepath.Join(dir, "src", "one.c"), filepath.Join(dir, "src", "same.c")))
	archive, err := os.Create(filepath.Join(dir, "files.tar"))
	must(err)
	defer archive.Close()
	w := tar.NewWriter(archive)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "etc/from-tar", Mode: 0o640, Uid: 7, Gid: 8, Size: 4},
		{Typeflag: tar.TypeLink, Name: "etc/from-tar-too", Linkname: "etc/from-tar"},
		{Typeflag: tar.TypeSymlink, Name: "etc/dangling", Linkname: "/nowhere"},
	} {
		must(w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := io.WriteString(w, "text")
			must(err)
		}
	}
	must(w.Close())
	return dir
}
