package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ladle-dev/ladle/test/place"
)

// What images with a SOCI index of version 2 consist of.
const (
	sociType     types.MediaType = "application/vnd.amazon.soci.index.v2+json"
	ztocType     types.MediaType = "application/octet-stream"
	sociOfImage                  = "com.amazon.soci.image-manifest-digest"
	sociOfLayer                  = "com.amazon.soci.image-layer-digest"
	sociInImage                  = "com.amazon.soci.index-digest"
	emptyObject                  = "{}"
	sociSpan                     = 4 << 20  // bytes, as SOCI's default
	SOCIMinLayer                 = 10 << 20 // bytes; by default smaller layers have no ztoc
)

// Directories, from the root of the repository, of the programs that make ztocs.
const (
	ZtocOfTests = "internal/ztoctest/ztoc"
	ZtocOfSOCI  = "internal/ztoctest/testdata/soci" // SOCI's own; it needs gcc and zlib1g-dev
)

// SOCI is how an image gets a SOCI index.
type SOCI struct {
	Builder string // ZtocOfTests or ZtocOfSOCI
	Least   int64  // bytes of the smallest layer that has a ztoc
}

// PushSOCI writes the image to a registry under ref, as `soci convert` makes it: an image index
// with the image, whose manifest names the SOCI index, and with that.
func (i *Image) PushSOCI(ctx context.Context, ref string, how SOCI) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	soci, err := i.pushSOCIIndex(ctx, tag.Repository, how)
	if err != nil {
		return fmt.Errorf("image: SOCI index of %s: %w", i.Name, err)
	}
	img := mutate.Annotations(i.Image, map[string]string{sociInImage: soci.Digest.String()}).(v1.Image)
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := remote.Write(tag.Digest(digest.String()), img, remoteOptions(ctx)...); err != nil {
		return fmt.Errorf("image: push %s: %w", ref, err)
	}
	size, err := img.Size()
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	platform := &v1.Platform{OS: "linux", Architecture: hostArchitecture}
	soci.Platform, soci.Annotations = platform, map[string]string{sociOfImage: digest.String()}
	_, err = putJSON(ctx, tag, types.OCIImageIndex, v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex,
		Manifests: []v1.Descriptor{{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size, Platform: platform}, soci},
	})
	return err
}

// pushSOCIIndex writes the SOCI index of the image, and returns its descriptor.
func (i *Image) pushSOCIIndex(ctx context.Context, to name.Repository, how SOCI) (v1.Descriptor, error) {
	layers, err := i.Layers()
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := pushBytes(ctx, to, []byte(emptyObject), sociType)
	if err != nil {
		return v1.Descriptor{}, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{}}
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return v1.Descriptor{}, err
		}
		if size < how.Least {
			continue
		}
		desc, err := pushZtoc(ctx, to, layer, how)
		if err != nil {
			return v1.Descriptor{}, err
		}
		m.Layers = append(m.Layers, desc)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := putJSON(ctx, to.Digest(digest.String()), types.OCIManifestSchema1, m)
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: string(sociType), Digest: digest, Size: size}, err
}

// pushZtoc makes the ztoc of a layer, and writes it.
func pushZtoc(ctx context.Context, to name.Repository, layer v1.Layer, how SOCI) (v1.Descriptor, error) {
	ztoc, err := ztocOf(ctx, layer, how.Builder)
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc, err := pushBytes(ctx, to, ztoc, ztocType)
	if err != nil {
		return v1.Descriptor{}, err
	}
	blob, err := layer.Digest()
	desc.Annotations = map[string]string{sociOfLayer: blob.String()}
	return desc, err
}

// ztocOf runs a program that makes the ztoc of a layer.
func ztocOf(ctx context.Context, layer v1.Layer, builder string) ([]byte, error) {
	root, err := place.Root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ladle-ztoc-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	in, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	from, to := filepath.Join(dir, "blob"), filepath.Join(dir, "ztoc")
	f, err := os.Create(from)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := io.Copy(f, in); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "run", ".", "-span", fmt.Sprint(sociSpan), from, to)
	cmd.Dir = filepath.Join(root, builder)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", builder, err, out)
	}
	return os.ReadFile(to)
}

func pushBytes(ctx context.Context, to name.Repository, b []byte, as types.MediaType) (v1.Descriptor, error) {
	layer := static.NewLayer(b, as)
	digest, err := layer.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	err = remote.WriteLayer(to, layer, remoteOptions(ctx)...)
	return v1.Descriptor{MediaType: as, Digest: digest, Size: int64(len(b))}, err
}

// document is a manifest as it is.
type document struct {
	body []byte
	as   types.MediaType
}

func (d document) RawManifest() ([]byte, error)        { return d.body, nil }
func (d document) MediaType() (types.MediaType, error) { return d.as, nil }

// putJSON writes v as a manifest, and returns its size.
func putJSON(ctx context.Context, ref name.Reference, as types.MediaType, v any) (size int64, err error) {
	body, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	return int64(len(body)), remote.Put(ref, document{body, as}, remoteOptions(ctx)...)
}
