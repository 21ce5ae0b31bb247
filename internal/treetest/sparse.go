package treetest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sparseFiles are files with holes at different places: their size, and what they
// have at which offset.
var sparseFiles = map[string]struct {
	size int64
	data map[int64]string
}{
	"starts with a hole": {200_000, map[int64]string{100_000: "middle", 199_990: "the end..."}},
	"ends with a hole":   {300_000, map[int64]string{0: "start"}},
	"many holes":         {500_000, map[int64]string{0: "a", 60_000: strings.Repeat("b", 5000), 120_001: "c", 180_000: "d", 240_000: "e", 499_999: "f"}},
	"one hole":           {150_000, nil},
	"no hole":            {20_000, map[int64]string{0: strings.Repeat("full", 5000)}},
}

// SparseFormats are the formats that GNU tar has for sparse files, as its options.
var SparseFormats = map[string][]string{
	"PAX 0.0": {"--format=posix", "--sparse-version=0.0"},
	"PAX 0.1": {"--format=posix", "--sparse-version=0.1"},
	"PAX 1.0": {"--format=posix", "--sparse-version=1.0"},
	"GNU":     {"--format=gnu"},
}

// SparseTar has GNU tar archive sparse files in one of SparseFormats. It returns
// what they contain, too, by name.
func SparseTar(t testing.TB, format string) (tarball []byte, contents map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	contents = map[string][]byte{}
	for name, file := range sparseFiles {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for off, data := range file.data {
			if _, err := f.WriteAt([]byte(data), off); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(file.size); err != nil {
			t.Fatal(err)
		}
		if contents[name], err = io.ReadAll(io.NewSectionReader(f, 0, file.size)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return SparseTarOf(t, format, dir), contents
}

// SparseTarOf has GNU tar archive a directory with sparse files in one of SparseFormats.
func SparseTarOf(t testing.TB, format, dir string) []byte {
	t.Helper()
	cmd := exec.Command("tar", append(append([]string{"--create", "--sparse", "--sort=name"}, SparseFormats[format]...), "-C", dir, ".")...)
	cmd.Stderr = os.Stderr
	tarball, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return tarball
}
