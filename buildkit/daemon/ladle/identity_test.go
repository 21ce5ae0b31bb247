package ladle

import (
	"archive/tar"
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/contentutil"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// snapshotKey is under which BuildKit's cache keeps the name of a snapshot.
const snapshotKey = "cache.snapshot"

// descriptor is of a layer as BuildKit gives it to its cache.
func descriptor(diffID, blob, toc string) ocispecs.Descriptor {
	d := ocispecs.Descriptor{Digest: digest.FromString(blob), Annotations: map[string]string{"containerd.io/uncompressed": digest.FromString(diffID).String()}}
	if toc != "" {
		d.Annotations[tocLabel] = digest.FromString(toc).String()
	}
	return d
}

// Of layers that claim one diffID, those that may become lazy share a snapshot if
// they have the same blob and table of contents, and the others share one.
func TestSnapshotsOfOneDiffID(t *testing.T) {
	m := newCache(t)
	l := newLab(t, &backend{merges: true})
	base := func(d ocispecs.Descriptor) (key, id string) {
		t.Helper()
		before := maps.Clone(d.Annotations)
		ref, toc, err := l.GetByBlob(t.Context(), m, d, nil, cache.DescHandlers{d.Digest: &cache.DescHandler{}})
		if err != nil {
			t.Fatal(err)
		}
		defer ref.Release(t.Context())
		if toc.String() != d.Annotations[tocLabel] {
			t.Errorf("%v may become lazy with %q", d, toc)
		}
		if got := ref.GetString(diffIDKey); got != before["containerd.io/uncompressed"] || !maps.Equal(before, d.Annotations) {
			t.Errorf("%v has the diffID %s, and now the annotations %v", before, got, d.Annotations)
		}
		above, _, err := l.GetByBlob(t.Context(), m, descriptor("above", "above", ""), ref, cache.DescHandlers{d.Digest: {}, digest.FromString("above"): {}})
		if err != nil {
			t.Fatal(err)
		}
		defer above.Release(t.Context())
		return ref.GetString(snapshotKey) + above.GetString(snapshotKey), ref.ID()
	}
	all := map[string]ocispecs.Descriptor{
		"lazy": descriptor("d", "b", "t"), "other blob": descriptor("d", "c", "t"), "other TOC": descriptor("d", "b", "u"),
		"other diffID": descriptor("e", "b", "t"), "unpacked": descriptor("d", "b", ""),
	}
	names := map[string]string{}
	for what, d := range all {
		key, id := base(d)
		if other := names[key]; other != "" {
			t.Errorf("%s and %s share a snapshot", what, other)
		}
		names[key] = what
		if again, same := base(d); again != key || same != id {
			t.Errorf("%s has two snapshots or records", what)
		}
	}
	if key, _ := base(descriptor("d", "c", "")); names[key] != "unpacked" {
		t.Error("two blobs of one layer that are unpacked have two snapshots")
	}
}

// A layer that BuildKit is to unpack at once is unpacked, and compared with the
// diffID that is claimed.
func TestLayerThatIsUnpackedAtOnce(t *testing.T) {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "dir", Mode: 0o755}), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	d := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayer, Digest: digest.FromBytes(plain.Bytes()), Size: int64(plain.Len())}
	blobs := contentutil.NewBuffer()
	if err := content.WriteBlob(t.Context(), blobs, "blob", &plain, d); err != nil {
		t.Fatal(err)
	}
	handlers := cache.DescHandlers{d.Digest: {Provider: func(session.Group) content.Provider { return blobs }}}
	m, l := newCache(t), newLab(t, &backend{merges: true})
	for diffID, want := range map[digest.Digest]string{d.Digest: "", digest.FromString("lie"): "expected diffID " + digest.FromString("lie").String()} {
		d.Annotations = map[string]string{"containerd.io/uncompressed": diffID.String(), tocLabel: digest.FromString("toc").String()}
		ref, _, err := l.GetByBlob(t.Context(), m, d, nil, handlers, cache.Unlazy(session.NewGroup("client")))
		if want == "" && err == nil {
			err = ref.Release(t.Context())
		}
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with diffID %s: %v, want %q", diffID, err, want)
		}
	}
}
