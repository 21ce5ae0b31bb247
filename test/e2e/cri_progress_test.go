package e2e

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// CRI cancels a pull if it sees no progress for image_pull_progress_timeout. What ladle
// imports it does not see: such a pull may take longer, with and without the transfer service.
func TestLongImportIsNotCancelledByCRI(t *testing.T) {
	const timeout = time.Second
	l := newLabOn(t, stack.Containerd{}, stack.Ladle("ladle", ""))
	for _, c := range []struct{ name, setting string }{
		{"transfer service", ""},
		{"local pull", "  use_local_image_pull = true\n  disable_snapshot_annotations = false\n"},
	} {
		name, setting := c.name, c.setting
		ref := l.push(l.slowImage(name))
		setting += "  image_pull_progress_timeout = \"" + timeout.String() + "\"\n"
		l.Link.SetProfile(link.Profile{})
		err := l.Node.Reconfigure(t.Context(), func(config string) string {
			return strings.Replace(config, "  snapshotter = \"ladle\"\n", "  snapshotter = \"ladle\"\n"+setting, 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		l.Link.SetProfile(link.Profile{Bandwidth: 8e6})
		began := time.Now()
		lazy := l.pullThroughCRI(ref)
		if took := time.Since(began); took < 3*timeout {
			t.Fatalf("%s: the pull took %v: it shows nothing", name, took)
		}
		if lazy != 2 {
			t.Errorf("%s: %d of 2 layers are imported", name, lazy)
		}
	}
	// A request that is not answered is what CRI sees: the timeout is in effect.
	defer l.muteRegistry()()
	_, client := l.criClient()
	_, err := client.PullImage(t.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: l.Link.Addr() + "/none:none"}})
	if err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("a pull that makes no progress: %v", err)
	}
}

// slowImage is busybox with one layer on top that takes four seconds at 8 Mbit/s.
func (l lab) slowImage(seed string) *image.Image {
	l.Helper()
	like := l.image("busybox", image.Gzip)
	lowest, err := layerOf(like, 0)
	if err != nil {
		l.Fatal(err)
	}
	noise := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{byte(len(seed))}).Read(noise)
	tarball := l.tarOf("/noise", string(noise))
	top, err := packings[0](tarball)
	if err != nil {
		l.Fatal(err)
	}
	img, err := assemble(like, lowest, mutate.Addendum{Layer: top, MediaType: top.mediaType})
	if err != nil {
		l.Fatal(err)
	}
	return &image.Image{Name: "slow" + strconv.Itoa(len(seed)), Format: image.Gzip, Image: img}
}
