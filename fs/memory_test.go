package fs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/tree"
)

// nowhere is a tree image that is not kept.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// TestMemoryOfTrees makes what is made of indexes out of those that stand for the
// most of what is allowed: none of it takes more than the index may.
func TestMemoryOfTrees(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	deep, long := strings.Repeat("a/", 2000), strings.Repeat("t", 4000)
	for name, test := range map[string]struct {
		n     int // nearly as many as are allowed
		entry func(i int) string
	}{
		"deep paths":         {30, func(i int) string { return fmt.Sprintf(`{"name":"%d/%s","type":"dir"}`, i, deep) }},
		"empty directories":  {220_000, func(i int) string { return fmt.Sprintf(`{"name":"%d","type":"dir"}`, i) }},
		"directories of one": {66_000, func(i int) string { return fmt.Sprintf(`{"name":"%d/a","type":"fifo"}`, i) }},
		"long targets":       {8000, func(i int) string { return fmt.Sprintf(`{"name":"%d","type":"symlink","linkName":"%s"}`, i, long) }},
		"extended attributes": {700, func(i int) string {
			return fmt.Sprintf(`{"name":"%d","type":"dir","xattrs":{"user.a":"%s"}}`, i, strings.Repeat("AAAA", 15_000))
		}},
	} {
		root, limit := parsed(t, test.n, test.entry)
		for what, produce := range map[string]func() any{
			"encoded":  func() any { return index.EncodeTree(root) },
			"merged":   func() any { return tree.Merge(root, root, root) },
			"served":   func() any { return newInodes(&plan{number: 1}, root) },
			"compared": func() any { return tree.Diff(tree.NewDir(0o755), root, nil) },
		} {
			made, held := memtest.Held(produce)
			t.Logf("%s, %s: %d kB of heap, of %d", name, what, held>>10, limit>>10)
			if held > limit {
				t.Errorf("%s, %s: %d bytes of heap, more than %d", name, what, held, limit)
			}
			runtime.KeepAlive(made)
		}
		var size int64
		n := memtest.Allocated(func() {
			var err error
			if size, err = erofs.Write(nowhere{}, root, erofs.Options{}); err != nil {
				t.Error(err)
			}
		})
		t.Logf("%s, image: %d kB allocated for one of %d kB", name, n>>10, size>>10)
		if n > 3*limit || size > 3*limit {
			t.Errorf("%s: %d bytes allocated for an image of %d", name, n, size)
		}
		runtime.KeepAlive(root)
	}
}

// parsed returns the tree of a TOC with n entries, and how much memory its index
// may take.
func parsed(t *testing.T, n int, entry func(i int) string) (root *tree.Inode, limit int64) {
	t.Helper()
	list := make([]string, n)
	for i := range list {
		list[i] = entry(i)
	}
	toc := packed(t, `{"version":1,"entries":[`+strings.Join(list, ",")+`]}`)
	x, err := index.Parse(bytes.NewReader(toc), index.Footer{PayloadSize: 1, Compression: index.Gzip})
	if err != nil {
		t.Fatal(err)
	}
	return x.Root, index.Memory(int64(len(toc)))
}

// packed returns a TOC as eStargz has it.
func packed(t *testing.T, document string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(&tar.Header{Name: estargz.TOCTarName, Size: int64(len(document))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write([]byte(document)); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
