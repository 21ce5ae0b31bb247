package snapshot

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"
)

// errNoLayer says that the labels of a Prepare do not name a layer.
var errNoLayer = errors.New("the client does not say which layer of which image it is")

// criSpace is the namespace that CRI has in containerd.
const criSpace = "k8s.io"

// Which settings make clients name the layer (containerd 2.4.2). The transfer
// service looks at the exports of the plugin (core/transfer/local/pull.go). CRI
// pulls by the transfer service, or by itself as soon as one of several settings
// is there (internal/cri/config, CheckLocalImagePullConfigs), and its labels do
// not tell which of the two it was; the setting named here is for both.
const (
	criSetting      = `for CRI, set disable_snapshot_annotations = false in [plugins."io.containerd.cri.v1.images"] of containerd's configuration`
	transferSetting = `for containerd's transfer service, set enable_remote_snapshot_annotations = "true" in the exports of ladle's proxy plugin in containerd's configuration; other clients set annotations themselves, or cannot`
)

// unnamed returns errNoLayer with the setting by which the client would name the layer. The
// key of the Prepare tells which client it is, if anything does.
func unnamed(key string) error {
	if space, _, _ := cutKey(key); space == criSpace {
		return fmt.Errorf("%w: %s", errNoLayer, criSetting)
	}
	return fmt.Errorf("%w: %s", errNoLayer, transferSetting)
}

// errUnasked says that a client unpacks an image without asking for remote
// snapshots.
var errUnasked = fmt.Errorf("%w, since it unpacks an image whose layers are in containerd's content store: to have it lazy, remove the image and pull it with this snapshotter", errNoLayer)

// unpacking is what containerd calls a snapshot that it unpacks a layer into
// (snapshots.UnpackKeyFormat, with core/unpack and pkg/rootfs, uniquePart).
// BuildKit's have no second hyphen: it has asked before under another key.
var unpacking = regexp.MustCompile("^" + snapshots.UnpackKeyPrefix + `-[0-9]+-[^ ]* (.+)$`)

// noteUnpacking writes the one log line of a layer that a client unpacks without
// asking whether it can be read lazily: containerd's Image.Unpack, and thereby
// "ctr run" of an image that was pulled for another snapshotter.
func (s *Snapshotter) noteUnpacking(ctx context.Context, key string) {
	_, name, _ := cutKey(key)
	if m := unpacking.FindStringSubmatch(name); m != nil {
		s.leave(log.G(ctx).WithField("key", key).WithField("target", m[1]), errUnasked)
	}
}
