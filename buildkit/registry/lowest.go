package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// PushLowest makes an image of the n lowest layers of the image from,
// repository:tag in the registry at addr, and pushes it. to is its
// repository:tag.
func PushLowest(ctx context.Context, addr, from string, n int) (to string, err error) {
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(transport)}
	source, err := name.ParseReference(addr + "/" + from)
	if err != nil {
		return "", fmt.Errorf("registry: %w", err)
	}
	img, err := remote.Image(source, options...)
	if err != nil {
		return "", fmt.Errorf("registry: %w", err)
	}
	if img, err = lowest(img, n); err != nil {
		return "", fmt.Errorf("registry: the %d lowest layers of %s: %w", n, from, err)
	}
	path, tag, _ := strings.Cut(from, ":")
	to = fmt.Sprintf("%s-lowest-%d:%s", path, n, tag)
	dest, err := name.ParseReference(addr + "/" + to)
	if err != nil {
		return "", fmt.Errorf("registry: %w", err)
	}
	if err := remote.Write(dest, img, options...); err != nil {
		return "", fmt.Errorf("registry: %w", err)
	}
	return to, nil
}

func lowest(base v1.Image, n int) (v1.Image, error) {
	manifest, err := base.Manifest()
	if err != nil {
		return nil, err
	}
	layers, err := base.Layers()
	if err != nil {
		return nil, err
	}
	config, err := base.ConfigFile()
	if err != nil {
		return nil, err
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: config.Architecture, OS: config.OS, Config: config.Config})
	if err != nil {
		return nil, err
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, manifest.MediaType), manifest.Config.MediaType)
	for i, layer := range layers[:n] {
		d := manifest.Layers[i]
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: d.MediaType, Annotations: d.Annotations})
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}
