package fs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

func benchEachDriver(b *testing.B, bench func(b *testing.B, l *lab)) {
	for _, driver := range drivers {
		b.Run(driver, func(b *testing.B) { bench(b, newLab(b, driver)) })
	}
}

// many puts n layers of 500 files on the shelf.
func (l *lab) many(b *testing.B, n int) []store.ID {
	ids := make([]store.ID, n)
	for i := range ids {
		root, data := random(uint64(i), treetest.Shape{Inodes: 500})
		ids[i] = l.add(b, fmt.Sprint(i), root, data)
	}
	return ids
}

// BenchmarkMount60 mounts and unmounts trees over 60 layers with existing images.
func BenchmarkMount60(b *testing.B) {
	for _, shape := range []struct {
		name   string
		layers func(ids []store.ID) [][]store.ID
	}{
		{"merged", func(ids []store.ID) [][]store.ID { return [][]store.ID{ids} }},
		{"single", func(ids []store.ID) (each [][]store.ID) {
			for _, id := range ids {
				each = append(each, []store.ID{id})
			}
			return each
		}},
	} {
		b.Run(shape.name, func(b *testing.B) {
			benchEachDriver(b, func(b *testing.B, l *lab) {
				trees := shape.layers(l.many(b, 60))
				mountAll := func() {
					for _, layers := range trees {
						l.mount("o", layers...)
					}
				}
				mountAll()
				l.release("o")
				for b.Loop() {
					mountAll()
					b.StopTimer()
					l.release("o")
					b.StartTimer()
				}
			})
		})
	}
}

// BenchmarkImage60 makes the merged image of 60 layers.
func BenchmarkImage60(b *testing.B) {
	l := newLab(b, "erofs")
	ids := l.many(b, 60)
	for i := 0; b.Loop(); i++ {
		l.mount("o", append(ids[i%60:len(ids):len(ids)], ids[:i%60]...)...)
		b.StopTimer()
		l.release("o")
		b.StartTimer()
	}
}

// BenchmarkDiffs mounts what each of 20 layers has above those below it, of
// 30,000 inodes in all, as a merge does the first time.
func BenchmarkDiffs(b *testing.B) {
	for _, stacked := range []bool{false, true} {
		b.Run(fmt.Sprint("one tree ", stacked), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l := newLab(b, "erofs")
				var ids []store.ID
				for i := range 20 {
					root, data := random(uint64(i), treetest.Shape{Inodes: 1500})
					ids = append(ids, l.add(b, fmt.Sprint(i), root, data))
				}
				var parts []store.Spec
				for i := range ids {
					parts = append(parts, store.Spec{Kind: store.Diff, Layers: ids[:i+1], Lower: ids[:i]})
				}
				if stacked {
					parts = []store.Spec{store.StackOf(parts...)}
				}
				b.StartTimer()
				for _, p := range parts {
					l.mountSpec("o", p)
				}
				b.StopTimer()
				l.release("o")
				b.StartTimer()
			}
		})
	}
}

// BenchmarkWalk stats every file of a merged tree of 30,000 inodes that was
// just mounted. What the fuse driver showed once the kernel knows the next
// time, as its mount remains.
func BenchmarkWalk(b *testing.B) {
	benchEachDriver(b, func(b *testing.B, l *lab) {
		ids := l.many(b, 60)
		for b.Loop() {
			b.StopTimer()
			l.release("o")
			path := l.mount("o", ids...)
			b.StartTimer()
			walk(b, path)
		}
	})
}

// BenchmarkWalkAgain stats what was walked before.
func BenchmarkWalkAgain(b *testing.B) {
	benchEachDriver(b, func(b *testing.B, l *lab) {
		path := l.mount("o", l.many(b, 60)...)
		walk(b, path)
		for b.Loop() {
			walk(b, path)
		}
	})
}

func walk(b *testing.B, path string) {
	err := filepath.WalkDir(path, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		_, err = e.Info()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// zeroes is a data file that costs nothing to read.
type zeroes struct{}

func (zeroes) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkSequential reads a file that was just mounted. Through the fuse
// driver it is cached after the first time, as its mount remains.
func BenchmarkSequential(b *testing.B) {
	const size = 256 << 20
	benchEachDriver(b, func(b *testing.B, l *lab) {
		root := tree.NewDir(0o755)
		root.Dir.Add("a", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: size})
		id := l.add(b, "large", root, zeroes{})
		b.SetBytes(size)
		buf := make([]byte, 1<<20)
		for b.Loop() {
			b.StopTimer()
			l.release("o")
			path := l.mount("o", id)
			b.StartTimer()
			f, err := os.Open(filepath.Join(path, "a"))
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = f.Read(buf)
			}
			f.Close()
			if err != io.EOF {
				b.Fatal(err)
			}
		}
	})
}
