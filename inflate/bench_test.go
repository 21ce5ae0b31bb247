package inflate_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
	"time"

	klauspost "github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/inflate"
)

var blobFile = flag.String("blob", "", "gzip file for benchmarks, instead of the test program")

// blob returns a gzip file and the size of its contents.
func blob(b *testing.B) ([]byte, int64) {
	b.Helper()
	if *blobFile == "" {
		program, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			b.Fatal(err)
		}
		return gzipped(b, program, gzip.DefaultCompression), int64(len(program))
	}
	data, err := os.ReadFile(*blobFile)
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, inflate.NewReader(bytes.NewReader(data)))
	if err != nil {
		b.Fatal(err)
	}
	return data, n
}

func BenchmarkReader(b *testing.B) {
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"inflate": func(r io.Reader) (io.Reader, error) { return inflate.NewReader(r), nil },
		"inflate,points": func(r io.Reader) (io.Reader, error) {
			z := inflate.NewReader(r)
			z.OnPoint(256<<10, func(inflate.Point) error { return nil })
			return z, nil
		},
		"compress":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"klauspost": func(r io.Reader) (io.Reader, error) { return klauspost.NewReader(r) },
	} {
		b.Run(name, func(b *testing.B) {
			data, n := blob(b)
			b.SetBytes(n)
			least := time.Duration(math.MaxInt64)
			for b.Loop() {
				start := cpuTime(b)
				z, err := open(bytes.NewReader(data))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, z); err != nil {
					b.Fatal(err)
				}
				least = min(least, cpuTime(b)-start)
			}
			// What others do at the same time is in the time, and hardly in this.
			b.ReportMetric(float64(n)/1e6/least.Seconds(), "MB/cpu-s")
		})
	}
}

// BenchmarkPoints encodes the points of a blob, and says how large their list is.
func BenchmarkPoints(b *testing.B) {
	for _, spacing := range []int64{256 << 10, 512 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", spacing>>10), func(b *testing.B) {
			data, _ := blob(b)
			all := points(b, data, spacing)
			var list []byte
			for b.Loop() {
				list = encoded(b, all)
			}
			b.ReportMetric(float64(len(list))/float64(len(all)), "B/point")
			b.ReportMetric(float64(len(list))/float64(len(data))*100, "%/blob")
		})
	}
}

// cpuTime returns how long the process has run.
func cpuTime(b testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
