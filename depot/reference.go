package depot

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

// layoutPrefix starts references of OCI image layouts.
const layoutPrefix = "oci:"

// Reference names an image.
type Reference struct {
	// Layout is the path of an OCI image layout; empty: the image is in a registry.
	Layout string

	// Name is the tag in the layout, which may be empty, or
	// "registry/repository:tag" or "registry/repository@digest".
	Name string
}

// Parse reads a reference: "oci:PATH", "oci:PATH:TAG", or that of a registry. As for
// docker, an image without a registry is one of docker.io, and one without a tag has
// "latest".
func Parse(s string) (Reference, error) {
	if rest, ok := strings.CutPrefix(s, layoutPrefix); ok {
		path, tag := rest, ""
		if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
			path, tag = rest[:i], rest[i+1:]
		}
		if path == "" {
			return Reference{}, fmt.Errorf("image reference %q: no path", s)
		}
		return Reference{Layout: path, Name: tag}, nil
	}
	named, err := reference.ParseDockerRef(s)
	if err != nil {
		return Reference{}, fmt.Errorf("image reference %q: %w", s, err)
	}
	return Reference{Name: named.String()}, nil
}

// String returns the reference in the form that Parse takes.
func (r Reference) String() string {
	switch {
	case r.Layout == "":
		return r.Name
	case r.Name == "":
		return layoutPrefix + r.Layout
	}
	return layoutPrefix + r.Layout + ":" + r.Name
}
