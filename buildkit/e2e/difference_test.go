package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// logDifference logs how the layers of two images differ, entry by entry.
func (l lab) logDifference(want, got string) {
	l.Helper()
	a, errA := l.image(want).Layers()
	b, errB := l.image(got).Layers()
	if err := errors.Join(errA, errB); err != nil {
		l.Fatal(err)
	}
	for i := range min(len(a), len(b)) {
		x, y := l.entries(a[i]), l.entries(b[i])
		l.logMissing(fmt.Sprintf("layer %d: -", i), x, y)
		l.logMissing(fmt.Sprintf("layer %d: +", i), y, x)
	}
}

// logMissing logs the entries that are in a and not in b.
func (l lab) logMissing(prefix string, a, b []string) {
	l.Helper()
	in := map[string]bool{}
	for _, entry := range b {
		in[entry] = true
	}
	for _, entry := range a {
		if !in[entry] {
			l.Log(prefix, entry)
		}
	}
}

// entries describes the entries of a layer, in their order.
func (l lab) entries(layer v1.Layer) []string {
	l.Helper()
	r, err := layer.Uncompressed()
	if err != nil {
		l.Fatal(err)
	}
	defer r.Close()
	var all []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			l.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, tr); err != nil {
			l.Fatal(err)
		}
		if strings.HasPrefix(path.Base(h.Name), ".wh.") {
			h.ModTime, h.PAXRecords = time.Time{}, nil // when it was written
		}
		all = append(all, fmt.Sprintf("%c %q %q mode %o owner %d:%d size %d time %d dev %d:%d %q sha256 %.12x", h.Typeflag, h.Name,
			h.Linkname, h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.UnixNano(), h.Devmajor, h.Devminor,
			strings.Trim(fmt.Sprint(h.PAXRecords), "map[]"), sum.Sum(nil)))
	}
}

// listing is the lines of the listing that the last layer of a graph's image
// is.
func (l lab) listing(ref string) (lines []string) {
	l.Helper()
	layers, err := l.image(ref).Layers()
	if err != nil {
		l.Fatal(err)
	}
	r, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		l.Fatal(err)
	}
	defer r.Close()
	tr := tar.NewReader(r)
	for h, err := tr.Next(); err == nil; h, err = tr.Next() {
		if h.Name != "listing" {
			continue
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			l.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	l.Fatalf("%s has no listing", ref)
	return nil
}
