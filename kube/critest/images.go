package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// registries are those from which critest pulls.
var registries = []string{"registry.k8s.io", "k8s.gcr.io", "gcr.io"}

// standIn is an image that critest pulls: as it is called there, and what of it matters
// to the specs.
type standIn struct {
	names []string // repository and tag of all its names
	user  string
	run   []string // entrypoint; none: a shell
	layer image.Layer
}

// users are /etc/passwd and /etc/group of all stand-ins.
var users = []image.File{
	{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\n" +
		"default-user:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
	{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nwww-data:x:33:\nusers:x:100:\ndefault-user:x:1000:\n" +
		"group-defined-in-image:x:50000:default-user\nnogroup:x:65534:\n")},
}

// scripts are programs that Debian's busybox does not have, and specs run.
var scripts = []image.File{
	{Name: "bin/pgrep", Mode: 0o755, Content: []byte("#!/bin/sh\nexec pidof \"$1\"\n")},
	{Name: "bin/ipcs", Mode: 0o755, Content: []byte("#!/bin/sh\nexec cat /proc/sysvipc/shm\n")},
}

// staging is where cri-tools has images of its own, and e2e where it has those of
// Kubernetes' tests, in their registries.
const (
	staging = "k8s-staging-cri-tools/"
	e2e     = "e2e-test-images/"
)

// byDigest is the image that critest pulls by digest.
const byDigest = staging + "test-image-digest:latest"

// standIns returns all images. program is the file of package standin.
func standIns(program []byte) []standIn {
	file := func(name string, mode int64) image.Layer {
		return image.Files(append(users, image.File{Name: name, Mode: mode, Content: program})...)
	}
	plain := image.Files(append(users, scripts...)...)
	all := []standIn{
		{names: []string{e2e + "busybox:1.29-2"}, layer: plain},
		{names: []string{"pause:3.9"}, run: []string{"/bin/sleep", "100000"}, layer: plain},
		{names: []string{e2e + "nonewprivs:1.3"}, user: "1000", run: []string{"/nnp"}, layer: file("nnp", 0o4755)},
		{names: []string{e2e + "nginx:1.14-2"}, run: []string{"/bin/nginx", "80"}, layer: file("bin/nginx", 0o755)},
		{names: []string{e2e + "httpd:2.4.39-4"}, run: []string{"/bin/nginx", "80"}, layer: file("bin/nginx", 0o755)},
		{names: []string{staging + "hostnet-nginx-" + runtime.GOARCH + ":latest"}, run: []string{"/bin/nginx", "12003"}, layer: file("bin/nginx", 0o755)},
		{names: []string{staging + "test-image-user-uid:latest"}, user: "1002", layer: plain},
		{names: []string{staging + "test-image-user-username:latest"}, user: "www-data", layer: plain},
		{names: []string{staging + "test-image-user-uid-group:latest"}, user: "1003:users", layer: plain},
		{names: []string{staging + "test-image-user-username-group:latest"}, user: "www-data:100", layer: plain},
		{names: []string{staging + "test-image-predefined-group:latest"}, user: "1000", layer: plain},
		{names: []string{staging + "test-image-tags:1", staging + "test-image-tags:2", staging + "test-image-tags:3"}, layer: named("tags")},
	}
	for _, name := range []string{"test-image-1:latest", "test-image-2:latest", "test-image-3:latest",
		"test-image-latest:latest", "test-image-tag:test", "test-image-tag:all"} {
		all = append(all, standIn{names: []string{staging + name}, layer: named(name)})
	}
	return append(all, standIn{names: []string{byDigest}, layer: named("digest")})
}

// named is a layer that tells an image from others.
func named(name string) image.Layer {
	return image.Files(append(users, image.File{Name: "etc/image", Mode: 0o644, Content: []byte(name + "\n")})...)
}

// push puts all stand-ins in a registry, in one format, and returns the digest of byDigest.
func push(ctx context.Context, r *stack.Registry, cache *image.Cache, format image.Format) (digest v1.Hash, err error) {
	program, err := buildStandIn(ctx, cache.Dir)
	if err != nil {
		return digest, err
	}
	for i, s := range standIns(program) {
		img, err := cache.Make(ctx, s.recipe(i), format)
		if err != nil {
			return digest, err
		}
		for _, name := range s.names {
			if err := img.Push(ctx, r.Addr+"/"+name); err != nil {
				return digest, err
			}
		}
		if s.names[0] == byDigest {
			if digest, err = img.Digest(); err != nil {
				return digest, fmt.Errorf("critest: %w", err)
			}
		}
	}
	pause, err := cache.Image(ctx, "pause", image.Gzip)
	if err != nil {
		return digest, err
	}
	_, err = r.Push(ctx, pause)
	return digest, err
}

func (s standIn) recipe(i int) image.Recipe {
	config := image.BusyboxConfig()
	config.User = s.user
	if s.run != nil {
		config.Entrypoint, config.Cmd = s.run, nil
	}
	return image.Recipe{
		Name: fmt.Sprintf("critest-%d", i), Version: 1, Config: config,
		Layers: func(image.Env) ([]image.Layer, error) { return image.OnBusybox(s.layer) },
	}
}

// buildStandIn builds the program of package standin, without libraries.
func buildStandIn(ctx context.Context, dir string) ([]byte, error) {
	root, err := place.Root()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("critest: %w", err)
	}
	program := filepath.Join(dir, "standin")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./standin")
	build.Dir, build.Env = filepath.Join(root, "kube"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("critest: building the stand-in: %w\n%s", err, out)
	}
	return os.ReadFile(program)
}
