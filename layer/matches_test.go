package layer_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// Matches knows the content of a file from the index alone.
func TestMatches(t *testing.T) {
	zeros := file{name: "zeros", data: make([]byte, 300<<10)}
	holes := file{name: "holes", data: slices.Concat(make([]byte, 200<<10), []byte("data"), make([]byte, 400<<10))}
	files := append(someFiles(1, 20), zeros, holes)
	b := newBench(t, registrytest.Options{}, files)
	l := b.open(t)
	b.Reset()
	for _, f := range files {
		inode, err := l.File("/" + f.name)
		if err != nil || inode == nil {
			t.Fatalf("%s: %v, %v", f.name, inode, err)
		}
		check := func(what string, content []byte, want bool) {
			t.Helper()
			same, known, err := l.Matches(t.Context(), inode, bytes.NewReader(content))
			if err != nil || !known || same != want {
				t.Errorf("%s, %s: %v, %v, %v; want %v", f.name, what, same, known, err, want)
			}
		}
		check("the same", f.data, true)
		for _, at := range []int{0, len(f.data) / 2, len(f.data) - 1} {
			if len(f.data) == 0 {
				break
			}
			other := bytes.Clone(f.data)
			other[at] ^= 1
			check("another byte", other, false)
			check("less", f.data[:at], false)
		}
	}
	if n := len(b.Log()); n > 0 {
		t.Errorf("%d requests", n)
	}
	inode, err := l.File("/large")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, known, err := l.Matches(ctx, inode, bytes.NewReader(nil)); known || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the call: %v, %v", known, err)
	}
}

// File finds only regular files, by the path that they have.
func TestFile(t *testing.T) {
	b := newBench(t, registrytest.Options{}, append(someFiles(1, 1), file{name: "link", link: "large"}))
	l := b.open(t)
	for _, path := range []string{"/", "", "/small", "/link", "/none", "/large/x", "/../large"} {
		if inode, err := l.File(path); inode != nil || err != nil {
			t.Errorf("%q: %v, %v", path, inode, err)
		}
	}
}
