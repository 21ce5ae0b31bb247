package e2e

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ladle-dev/ladle/test/place"
)

// hasTheProgramAlone builds the image of deploy/Dockerfile, and looks at all that is in it: one
// layer with the program, which is what a container of it runs.
func (l lab) hasTheProgramAlone(kind string) {
	l.Helper()
	path, err := place.Ladle()
	if err != nil {
		l.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		l.Fatal(err)
	}
	root, err := place.Root()
	if err != nil {
		l.Fatal(err)
	}
	steps, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		l.Fatal(err)
	}
	// The context is that of `make build`: bin, which has other programs, too.
	dir := l.project(map[string]string{"Dockerfile": string(steps), "ladle": string(program), "ladle-buildkitd": "another program"})
	img := l.image(l.buildTo(kind, dir, "ladle", "oci-mediatypes=true"))
	config, err := img.ConfigFile()
	if err != nil {
		l.Fatal(err)
	}
	if c := config.Config; !slices.Equal(c.Entrypoint, []string{"/ladle"}) || len(c.Cmd) > 0 || c.User != "" {
		l.Errorf("a container runs %q %q as %q", c.Entrypoint, c.Cmd, c.User)
	}
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	if len(layers) != 1 {
		l.Fatalf("%d layers", len(layers))
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		l.Fatal(err)
	}
	defer content.Close()
	var names []string
	for tr := tar.NewReader(content); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			l.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Typeflag != tar.TypeReg || h.Mode != 0o755 || h.Uid != 0 || h.Size != int64(len(program)) {
			l.Errorf("%s is of type %c, mode %o, user %d, %d bytes", h.Name, h.Typeflag, h.Mode, h.Uid, h.Size)
		}
	}
	if !slices.Equal(names, []string{"ladle"}) {
		l.Errorf("in the image are %q", names)
	}
}
