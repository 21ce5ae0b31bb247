package fs

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// BenchmarkFull reads all files of a full layer that was just mounted: through the export,
// and from the data file itself; small files and a large one; with the data file in the page
// cache, as after an import, and not. CPU is that of reader and daemon.
func BenchmarkFull(b *testing.B) {
	for _, size := range []struct {
		name  string
		files int
		bytes int64
	}{{"small", 8000, 24 << 10}, {"large", 1, 192 << 20}} {
		for _, cached := range []string{"cached", "cold"} {
			for _, driver := range mountingDrivers {
				for _, whole := range []bool{false, true} {
					name := size.name + "/" + cached + "/" + driver + "/export"
					if whole {
						name = size.name + "/" + cached + "/" + driver + "/whole"
					}
					b.Run(name, func(b *testing.B) {
						l := newLab(b, driver)
						root := tree.NewDir(0o755)
						for i := range size.files {
							root.Dir.Add(itoa(i), &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: size.bytes, Data: tree.Extent{Offset: int64(i) * size.bytes}})
						}
						id, err := l.putWhole("full", root, treetest.Pattern(1))
						if err != nil {
							b.Fatal(err)
						}
						book := l.book(id)
						if _, ok, err := book.Layer.Whole(); !ok || err != nil {
							b.Fatal(ok, err)
						}
						book.whole, book.data = whole, book.Layer
						b.SetBytes(int64(size.files) * size.bytes)
						benchReads(b, l, book, cached == "cold")
					})
				}
			}
		}
	}
}

func benchReads(b *testing.B, l *lab, book *book, cold bool) {
	var before, after unix.Rusage
	var spent int64
	for b.Loop() {
		b.StopTimer()
		l.release("o")
		if cold {
			if err := book.DropCache(0, 0); err != nil {
				b.Fatal(err)
			}
		} else {
			_, _ = io.Copy(io.Discard, io.NewSectionReader(book.data, 0, book.DataSize()))
		}
		path := l.mount("o", book.ID())
		_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
		b.StartTimer()
		readFiles(b, path)
		b.StopTimer()
		_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
		spent += after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano()
		b.StartTimer()
	}
	b.ReportMetric(float64(spent)/float64(b.N)/1e6, "cpu-ms/op")
}

func readFiles(b *testing.B, path string) {
	buf := make([]byte, 256<<10)
	err := filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for err == nil {
			_, err = f.Read(buf)
		}
		if err == io.EOF {
			return nil
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}
