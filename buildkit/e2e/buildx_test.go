//go:build buildx

// script/buildx-tests.sh builds buildx and runs these tests.

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// docker buildx builds on ladle by its driver for buildkitds that run already,
// and fetches no more than buildctl does. The image goes to the registry, or to
// the client.
func TestBuildx(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	for _, kind := range onLadle {
		t.Run(kind, func(t *testing.T) { l.as(t).buildx(kind) })
	}
}

func TestBuildxRootless(t *testing.T) {
	r := newRootless(t, allIDs, rootlessKinds...)
	for _, kind := range rootlessKinds {
		t.Run(kind, func(t *testing.T) { r.as(t).buildx(kind) })
	}
}

// buildx makes a builder of a worker, builds with it, and removes it.
func (l lab) buildx(kind string) {
	l.Helper()
	program, err := place.Component("buildx")
	if err != nil {
		l.Fatal(err)
	}
	config := l.TempDir()
	run := func(args ...string) {
		l.Helper()
		cmd := exec.CommandContext(l.Context(), program, args...)
		cmd.Env = append(process.Environment(), "DOCKER_CONFIG="+config, "BUILDX_CONFIG="+config, "BUILDX_METADATA_PROVENANCE=disabled")
		if out, err := cmd.CombinedOutput(); err != nil {
			l.Fatalf("buildx %q: %v\n%s", args, err, out)
		}
	}
	run("create", "--name", "lazy", "--driver", "remote", l.workers[kind].Address())
	run("inspect", "lazy")

	dir := l.project(map[string]string{"hello": "hello\n",
		"Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY --link hello /etc/hello\nRUN cat /etc/hello >/copied\n"})
	ref := l.Link.Addr() + "/buildx:" + kind
	l.Link.Reset()
	build := []string{"build", "--builder", "lazy", "--build-arg", "BASE=" + l.base, "--provenance=false"}
	run(append(build, "--output", "type=image,push=true,store=false,name="+ref, dir)...)
	got, size := l.fetched(), l.size(l.base)
	l.Logf("%d of %d bytes were fetched", got, size)
	if got > size/5 {
		l.Errorf("%d of %d bytes were fetched", got, size)
	}
	if base, built := l.layers(l.base), l.layers(ref); len(built) != len(base)+2 {
		l.Errorf("the image has %d layers, its base %d", len(built), len(base))
	}

	metadata := filepath.Join(config, "metadata.json")
	run(append(build, "--output", "type=oci,dest="+filepath.Join(config, "image.tar"), "--metadata-file", metadata, dir)...)
	var said struct {
		Digest string `json:"containerimage.digest"`
	}
	text, err := os.ReadFile(metadata)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil || said.Digest == "" {
		l.Errorf("no digest of the exported image: %v", err)
	}
	run("rm", "lazy")
}
