package image

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Layer writes the entries of one layer's tar. It must write the same entries
// each time it is called.
type Layer func(w *tar.Writer) error

// Recipe is a named way to make an image.
type Recipe struct {
	Name  string
	About string // one line for people
	// Version changes whenever the recipe's result does, so that an old cached
	// image is not used.
	Version int
	Config  v1.Config
	// Layers makes the layers, lowest first.
	Layers func(env Env) ([]Layer, error)
	// Prioritized are path.Match patterns of the files that a typical command
	// in the image reads, without the leading slash.
	Prioritized []string
}

// epoch is the time of everything that a recipe makes by hand, so that the same
// recipe gives the same digests.
var epoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// whiteout is the entry that deletes name from the layers below.
func whiteout(name string) tar.Header {
	return reg(path.Join(path.Dir(name), whiteoutPrefix+path.Base(name)), 0o644, 0)
}

// opaque is the entry that hides everything that lower layers have in dir.
func opaque(dir string) tar.Header { return reg(path.Join(dir, opaqueMarker), 0o644, 0) }

func reg(name string, mode, size int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: epoch}
}

func dir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimSuffix(name, "/") + "/", Mode: mode, ModTime: epoch}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch}
}

// hardlink makes name another name of a file that an earlier entry of the same
// layer made. It repeats the file's mode, owner and time, because containerd
// sets them again from the link.
func hardlink(name string, of tar.Header) tar.Header {
	of.Typeflag, of.Linkname, of.Name, of.Size = tar.TypeLink, of.Name, name, 0
	return of
}

// withXattr returns h with one more extended attribute.
func withXattr(h tar.Header, key, value string) tar.Header {
	records := map[string]string{xattrRecord + key: value}
	for k, v := range h.PAXRecords {
		records[k] = v
	}
	h.PAXRecords = records
	return h
}

// xattrRecord is the prefix of the PAX records that hold extended attributes.
const xattrRecord = "SCHILY.xattr."

// entries is a layer of entries without content, other than what text holds:
// the content of the regular file of that name.
func entries(text map[string]string, headers ...tar.Header) Layer {
	return func(w *tar.Writer) error {
		for _, h := range headers {
			if err := put(w, h, text[h.Name]); err != nil {
				return err
			}
		}
		return nil
	}
}

// put writes one entry with its content.
func put(w *tar.Writer, h tar.Header, content string) error {
	if h.Typeflag == tar.TypeReg {
		h.Size = int64(len(content))
	}
	return putFrom(w, h, strings.NewReader(content))
}

// putFrom writes one entry of h.Size bytes read from r.
func putFrom(w *tar.Writer, h tar.Header, r io.Reader) error {
	h.Format = tar.FormatPAX
	if err := w.WriteHeader(&h); err != nil {
		return fmt.Errorf("image: %q: %w", h.Name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if _, err := io.CopyN(w, r, h.Size); err != nil {
		return fmt.Errorf("image: %q: %w", h.Name, err)
	}
	return nil
}
