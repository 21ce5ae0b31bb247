package e2e

import (
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// image gets an image from the registry, not through the link.
func (l lab) image(ref string) v1.Image {
	l.Helper()
	_, path, _ := strings.Cut(ref, "/")
	parsed, err := name.ParseReference(l.Registry.Addr + "/" + path)
	if err != nil {
		l.Fatal(err)
	}
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	l.Cleanup(transport.CloseIdleConnections)
	img, err := remote.Image(parsed, remote.WithContext(l.Context()), remote.WithTransport(transport))
	if err != nil {
		l.Fatal(err)
	}
	return img
}

// layers is the sizes of an image's layers by digest.
func (l lab) layers(ref string) map[string]int64 {
	l.Helper()
	manifest, err := l.image(ref).Manifest()
	if err != nil {
		l.Fatal(err)
	}
	sizes := map[string]int64{}
	for _, d := range manifest.Layers {
		sizes[d.Digest.String()] = d.Size
	}
	return sizes
}

// chain is the digests of an image's layers, the lowest first, each with what
// it says of its content.
func (l lab) chain(ref string) []string {
	l.Helper()
	img := l.image(ref)
	manifest, err := img.Manifest()
	if err != nil {
		l.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		l.Fatal(err)
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		l.Fatalf("%s has %d layers and %d diffIDs", ref, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	var chain []string
	for i, d := range manifest.Layers {
		chain = append(chain, d.Digest.String()+" of "+config.RootFS.DiffIDs[i].String())
	}
	return chain
}

// manifest is what the registry has by this reference, and blob a blob beside it.
func (l lab) manifest(ref string) []byte {
	l.Helper()
	_, path, _ := strings.Cut(ref, "/")
	repository, tag, _ := strings.Cut(path, ":")
	return l.get(repository + "/manifests/" + tag)
}

func (l lab) blob(ref, digest string) []byte {
	l.Helper()
	_, path, _ := strings.Cut(ref, "/")
	repository, _, _ := strings.Cut(path, ":")
	return l.get(repository + "/blobs/" + digest)
}

func (l lab) get(path string) []byte {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), http.MethodGet, "http://"+l.Registry.Addr+"/v2/"+path, nil)
	if err != nil {
		l.Fatal(err)
	}
	r.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		l.Fatalf("GET %s: %s: %v", path, answer.Status, err)
	}
	return text
}
