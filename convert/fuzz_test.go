package convert

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"
)

// FuzzBuild makes blobs of tars: each is refused, or the blob decompresses to a tar with the
// diffID of the result; of a tar without entries that are left out or written anew it is the
// very same one, if no padding was missing.
func FuzzBuild(f *testing.F) {
	var seed bytes.Buffer
	w := tar.NewWriter(&seed)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"comment": "c"}},
		{Typeflag: tar.TypeReg, Name: "dir/file", Size: 4},
		{Typeflag: tar.TypeLink, Name: "link", Linkname: "dir/file"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			f.Fatal(err)
		}
		if _, err := io.WriteString(w, "1234"[:h.Size]); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes(), "link")
	f.Add(make([]byte, 1024), "")
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		entries, err := scan(bytes.NewReader(b))
		if err != nil {
			return
		}
		file, err := os.CreateTemp(t.TempDir(), "tar")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(b); err != nil {
			t.Fatal(err)
		}
		size := padded(entries, int64(len(b)))
		if err := file.Truncate(size); err != nil {
			t.Fatal(err)
		}
		same := size == int64(len(b))
		for _, e := range entries {
			if e.end > size || e.start >= e.end {
				t.Fatalf("entry %+v of a tar of %d bytes", e, len(b))
			}
			same = same && !e.dropped() && !e.sparse
			if e.sparse {
				return // it has as many bytes as it says
			}
		}
		maker := &builder{format: ZstdChunked, cpus: semaphore.NewWeighted(2)}
		if path != "" {
			maker.paths, same = []string{path}, false
		}
		made, err := maker.build(t.Context(), &spooled{file, size, entries}, func(int) {})
		if err != nil {
			return
		}
		defer made.Close()
		got := decompressed(t, made)
		if digest.FromBytes(got) != made.diffID {
			t.Errorf("the tar has digest %s, the diffID is %s", digest.FromBytes(got), made.diffID)
		}
		if same && !bytes.Equal(got, b) {
			t.Errorf("the tar is %q, was %q", got, b)
		}
	})
}

func decompressed(t *testing.T, b *built) []byte {
	r, err := b.open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
