package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	godigest "github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// An image that ladle has converted shows the tree of the original on overlayfs, and is
// lazy.
func TestConvertedImageIsTheSameTree(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	paths := "/usr/bin/python3\nusr/lib/os-release\n/not/there\netc/ld.so.cache\nparents/sub/upper\nhostile/not there\n"
	if err := os.WriteFile(list, []byte(paths), 0o600); err != nil {
		t.Fatal(err)
	}
	forms := []struct {
		name string
		args []string
	}{
		{"estargz", []string{"--format", "estargz"}},
		{"chunked", []string{"--format", "zstd:chunked"}},
		{"prefetch", []string{"--format", "estargz", "--prefetch-list", list}},
	}
	var daemons []stack.Daemon
	for _, f := range forms { // each with a store of its own
		daemons = append(daemons, stack.Ladle("ladle-"+f.name, "driver = \"erofs\"\n"))
	}
	l := newLab(t, daemons...)
	for _, recipe := range []string{"debian-python", "twice", "hostile-names", "hostile-nodes", "hostile-whiteouts", "hostile-parents"} {
		want, began := l.overlayfs(recipe)
		l.Push(recipe, image.Gzip) // overlayfs pulls it for one test of the package alone
		for _, f := range forms {
			t.Run(recipe+"/"+f.name, func(t *testing.T) {
				l := l.as(t)
				from := l.Registry.Addr + "/" + l.image(recipe, image.Gzip).Tag()
				name := recipe + ":converted-" + f.name
				layers := l.convert(slices.Concat(f.args, []string{"--json", from, l.Registry.Addr + "/" + name})...)
				ref := l.Link.Addr() + "/" + name
				l.Pull("ladle-"+f.name, ref)
				if fetched := l.stored(layers...); len(fetched) > 0 {
					t.Errorf("containerd fetched the layers %q", fetched)
				}
				l.same(began, want, l.list("ladle-"+f.name, ref))
			})
		}
	}
}

// convert runs ladle convert, which prints JSON, and returns the layers of the result.
func (l lab) convert(args ...string) (layers []godigest.Digest) {
	l.Helper()
	binary, err := place.Ladle()
	if err != nil {
		l.Fatal(err)
	}
	cmd := exec.CommandContext(l.Context(), binary, slices.Concat([]string{"convert"}, args)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.Fatalf("ladle convert %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var result struct {
		Images []struct {
			Layers []struct{ Action, Digest string }
		}
	}
	if err := json.Unmarshal(out, &result); err != nil || len(result.Images) != 1 || len(result.Images[0].Layers) == 0 {
		l.Fatalf("ladle convert printed %s: %v", out, err)
	}
	for _, of := range result.Images[0].Layers {
		if of.Action != "converted" {
			l.Errorf("layer %s: %s", of.Digest, of.Action)
		}
		layers = append(layers, godigest.Digest(of.Digest))
	}
	return layers
}
