package cold

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// pullDebugged pulls an image for overlayfs, and returns the ranges of its largest layer
// that were requested, the bytes of that layer, and what containerd logged.
func pullDebugged(t *testing.T, c stack.Containerd) (ranges []string, size int64, log string) {
	t.Helper()
	edit := c.Edit
	c.Edit = func(config string) string {
		if edit != nil {
			config = edit(config)
		}
		return strings.Replace(config, `level = "warn"`, `level = "debug"`, 1)
	}
	s := stacktest.New(t, stack.Options{Containerd: c})
	img, err := s.Cache.Image(t.Context(), "debian-python", image.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	s.Pull("overlayfs", s.Push("debian-python", image.Gzip))
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	large := slices.MaxFunc(manifest.Layers, func(a, b v1.Descriptor) int { return int(a.Size - b.Size) })
	for _, r := range s.Link.Requests() {
		if r.Method == "GET" && strings.HasSuffix(r.Path, large.Digest.String()) {
			ranges = append(ranges, r.Range)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.Node.Dir, "containerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	return ranges, large.Size, string(data)
}

// What Parallel sets is in effect: a layer is fetched by ranges, unpacking is parallel, and
// the program inflates.
func TestParallelIsInEffect(t *testing.T) {
	for _, inflate := range []string{"igzip", "unpigz"} {
		t.Run(inflate, func(t *testing.T) {
			c, err := Parallel(inflate)
			if err != nil {
				t.Fatal(err)
			}
			ranges, size, log := pullDebugged(t, c)
			var want []string
			for off := int64(0); off < size; off += buffer {
				want = append(want, fmt.Sprintf("bytes=%d-", off))
			}
			slices.SortFunc(ranges, func(a, b string) int { return int(start(t, a) - start(t, b)) })
			if len(want) < 2 || !slices.Equal(ranges, want) {
				t.Errorf("requested %q of %d bytes, want %q", ranges, size, want)
			}
			for _, line := range []string{"parallel=true", "using " + inflate + " for decompression"} {
				if !strings.Contains(log, line) {
					t.Errorf("containerd does not log %q\n%s", line, log)
				}
			}
		})
	}
}

func start(t *testing.T, rng string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(rng, "bytes="), "-"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDefaultIsNotParallel(t *testing.T) {
	ranges, _, log := pullDebugged(t, Default)
	if !slices.Equal(ranges, []string{""}) {
		t.Errorf("requested %q", ranges)
	}
	if !strings.Contains(log, "parallel=false") || strings.Contains(log, "for decompression") {
		t.Errorf("it unpacks in parallel, or by a program\n%s", log)
	}
}

func TestParallelNeedsItsProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Parallel("igzip"); err == nil {
		t.Error("there is no igzip, and no error")
	}
	if _, err := Parallel("gunzip"); err == nil {
		t.Error("containerd knows no gunzip")
	}
}
