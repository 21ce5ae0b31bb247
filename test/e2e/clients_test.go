package e2e

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/snapshotters"
	"github.com/containerd/stargz-snapshotter/fs/source"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// runsLazily runs a command in a container of an image that was pulled, and
// checks that containerd did not fetch the image's layers.
func (l lab) runsLazily(snapshotter, ref string, img *image.Image) {
	l.Helper()
	out := l.Run(snapshotter, ref, "python3", "-c", "import json; print(json.dumps([6 * 7]))")
	if strings.TrimSpace(out) != "[42]" {
		l.Errorf("the command printed %q", out)
	}
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	if lazy := l.remote(snapshotter); lazy != len(layers) {
		l.Errorf("%d of %d layers are lazy", lazy, len(layers))
	}
	if fetched := l.fetched(img); len(fetched) > 0 {
		l.Errorf("containerd fetched the layers %q", fetched)
	}
}

// With the transfer service, which asks the plugin's exports whether to
// annotate, under the name of this project and that of the one it replaces.
func TestWorksUnderAnyPluginName(t *testing.T) {
	names := []string{"ladle", "stargz", "some.other-name"}
	var daemons []stack.Daemon
	for _, name := range names {
		daemons = append(daemons, stack.Ladle(name, ""))
	}
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		l := newLabOn(t, c, daemons...)
		ref := l.Push("debian-python", image.EStargz)
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				l := l.as(t)
				l.Pull(name, ref)
				l.runsLazily(name, ref, l.image("debian-python", image.EStargz))
			})
		}
	})
}

// With a client that pulls by itself and annotates, as nerdctl does.
func TestClientsThatAnnotate(t *testing.T) {
	wrappers := map[string]func(ref string) func(images.Handler) images.Handler{
		"containerd": snapshotters.AppendInfoHandlerWrapper,
		"stargz": func(ref string) func(images.Handler) images.Handler {
			return source.AppendDefaultLabelsHandlerWrapper(ref, 0)
		},
	}
	for name, wrapper := range wrappers {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, stack.Ladle("ladle", ""))
			ref := l.Push("debian-python", image.ZstdChunked)
			l.pullAnnotated("ladle", ref, wrapper(ref))
			l.runsLazily("ladle", ref, l.image("debian-python", image.ZstdChunked))
		})
	}
}

// A client that does not annotate gets what overlayfs would give it.
func TestClientThatDoesNotAnnotate(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	ref := l.Push("busybox", image.EStargz)
	l.pullAnnotated("ladle", ref, func(h images.Handler) images.Handler { return h })
	l.Run("ladle", ref, "true")
	if lazy := l.remote("ladle"); lazy != 0 {
		t.Errorf("%d layers are lazy", lazy)
	}
}

// pullAnnotated pulls with containerd's Go client, without the transfer service.
func (l lab) pullAnnotated(snapshotter, ref string, wrapper func(images.Handler) images.Handler) {
	l.Helper()
	ctx, c := l.client()
	hosts := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
	_, err := c.Pull(ctx, ref, client.WithPullUnpack, client.WithPullSnapshotter(snapshotter),
		client.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: hosts})),
		client.WithImageHandlerWrapper(wrapper))
	if err != nil {
		l.Fatal(err)
	}
}
