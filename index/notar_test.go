package index

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestImportRefusesFilesystems has an EROFS image, which begins with 1,024 bytes of zeros, as a
// tar ends: it is no empty layer.
func TestImportRefusesFilesystems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command("mkfs.erofs", path, t.TempDir()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"EROFS image":       {image, false},
		"EROFS image, zstd": {zstdFrames(t, image, 1<<20), false},
		"empty tar":         {make([]byte, 10240), true},
		"no bytes":          {nil, true},
		"bytes behind":      {append(tarOf(t, []member{{Header: tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o755}}}), "garbage"...), true}, // Apply ignores them
	} {
		_, err := Import(context.Background(), io.NopCloser(bytes.NewReader(c.data)), &dataBuffer{})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
