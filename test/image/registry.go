package image

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push writes the image to a registry under ref, and the image of its TOCs
// under ref with "-esgztoc" appended to the tag. A registry on a loopback
// address is spoken to over plain HTTP.
func (i *Image) Push(ctx context.Context, ref string) error {
	if err := push(ctx, i.Image, ref); err != nil {
		return err
	}
	if i.TOC == nil {
		return nil
	}
	return push(ctx, i.TOC, ref+"-esgztoc")
}

func push(ctx context.Context, img v1.Image, ref string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := remote.Write(tag, img, remoteOptions(ctx)...); err != nil {
		return fmt.Errorf("image: push %s: %w", ref, err)
	}
	return nil
}

// Copy returns the image that ref names in a registry, for this machine's
// platform, converted to the given format. Credentials are those of docker.
func (c *Cache) Copy(ctx context.Context, ref string, format Format) (*Image, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	img, err := remote.Image(parsed, remoteOptions(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("image: %s: %w", ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("image: %s: %w", ref, err)
	}
	short := strings.NewReplacer("/", "-", ":", "-").Replace(parsed.Context().RepositoryStr())
	src := source{name: short, key: "copy-" + digest.Hex, plain: func(dir layout.Path) error {
		c.log("%s: copying from the registry", ref)
		return dir.AppendImage(img)
	}}
	return c.get(ctx, src, format)
}

func remoteOptions(ctx context.Context) []remote.Option {
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(transport),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: hostArchitecture}),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
	}
}
