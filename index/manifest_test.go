package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func manifestOf(t *testing.T, layers ...ocispec.Descriptor) []byte {
	t.Helper()
	b, err := json.Marshal(ocispec.Manifest{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadClaim(t *testing.T) {
	const other = digest.Digest("sha256:other")
	b := storageBlob(t, tarOf(t, someMembers()))
	index, footer := b.mustOpen(t)
	size, id := int64(len(b.data)), digest.FromBytes(b.data)
	layer := ocispec.Descriptor{Digest: id, Size: size, Annotations: map[string]string{
		"io.github.containers.zstd-chunked.manifest-checksum": index.CompressedTOCDigest.String(),
		"io.github.containers.zstd-chunked.manifest-position": fmt.Sprintf("%d:%d:1000:1", footer.TOCOffset, footer.TOCSize),
		"io.github.containers.zstd-chunked.tarsplit-position": fmt.Sprintf("%d:9:100", footer.TOCOffset+footer.TOCSize+skippableHeader),
		"containerd.io/snapshot/stargz/toc.digest":            index.TOCDigest.String(),
	}}
	c, err := ReadClaim(manifestOf(t, ocispec.Descriptor{Digest: other}, layer), id)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Claim{size, index.TOCDigest, index.CompressedTOCDigest, footer}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
	c, err = ReadClaim(manifestOf(t, ocispec.Descriptor{Digest: other, Size: 7}), other)
	if want := (Claim{Size: 7}); err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	if _, err := ReadClaim(manifestOf(t, layer), other); !errors.Is(err, ErrNoLayer) {
		t.Error(err)
	}
	for name, value := range map[string]string{
		"containerd.io/snapshot/stargz/toc.digest":            "nonsense",
		"io.containers.zstd-chunked.manifest-checksum":        "sha256:12",
		"io.containers.zstd-chunked.manifest-position":        "",
		"io.github.containers.zstd-chunked.manifest-position": "8:" + fmt.Sprint(size) + ":1:1",
	} {
		for _, value := range []string{value, "10:10", "-1:10:10:1", "10:-10:10:1", "10:10:10:2", "0:1:1:1"} {
			bad := ocispec.Descriptor{Digest: id, Size: size, Annotations: map[string]string{name: value}}
			if _, err := ReadClaim(manifestOf(t, bad), id); err == nil {
				t.Errorf("%s %s: no error", name, value)
			}
		}
	}
	if _, err := ReadClaim([]byte("{"), id); err == nil {
		t.Error("no error for half a manifest")
	}
}

func TestExternalTOC(t *testing.T) {
	id, toc := digest.FromString("layer"), digest.FromString("toc")
	layer := func(of digest.Digest, d digest.Digest, size int64) ocispec.Descriptor {
		return ocispec.Descriptor{Digest: d, Size: size, Annotations: map[string]string{"containerd.io/snapshot/stargz/layer.digest": of.String()}}
	}
	m := manifestOf(t, ocispec.Descriptor{}, layer(toc, id, 3), layer(id, toc, 7))
	if d, n, err := ExternalTOC(m, id); d != toc || n != 7 || err != nil {
		t.Errorf("%s, %d, %v", d, n, err)
	}
	if _, _, err := ExternalTOC(m, digest.FromString("other")); !errors.Is(err, ErrNoTOC) {
		t.Error(err)
	}
	for _, bad := range []ocispec.Descriptor{layer(id, "x", 7), layer(id, toc, -1), layer(id, toc, maxTOC+1)} {
		if _, _, err := ExternalTOC(manifestOf(t, bad), id); err == nil {
			t.Errorf("no error for %+v", bad)
		}
	}
	for ref, want := range map[string]string{
		"example.com/a/b:tag":                        "example.com/a/b:tag-esgztoc",
		"example.com:5000/a:tag":                     "example.com:5000/a:tag-esgztoc",
		"example.com/a/b:tag@sha256:" + id.Encoded(): "example.com/a/b:tag-esgztoc",
		"example.com/a/b@sha256:" + id.Encoded():     "",
		"nonsense":                                   "",
	} {
		if got, err := ExternalTOCRef(ref); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
}
