package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// write is what a container does that is committed afterwards. Of the files of the image, one is
// copied up, and two are written anew with their size and time, one of them with its content.
const write = `
	for i in 1 2 3; do echo file $i > /srv/file$i; done
	chmod 600 /opt/edits/python3 && cp -p /opt/edits/large /srv/copy && cp -p /srv/copy /opt/edits/large
	cp -p /etc/debian_version /srv/version && tr 0-9 1-90 < /srv/version > /etc/debian_version && touch -r /srv/version /etc/debian_version
	touch -d @1500000000 /srv/file1 /srv/file2 /srv/file3 /srv
`

// A commit of a lazy container fetches nothing, and is the commit of the same container on
// overlayfs. containerd's garbage collection leaves it to the client.
func TestCommitFetchesNothing(t *testing.T) {
	// On the newest containerd, other tests have diffs made by ladle.
	containerd := stack.Containerd{Release: stack.LongTerm, Edit: stack.WithDiffers}
	l := newLabOn(t, containerd, stack.Ladle("ladle", onlyDemand+stack.DifferConfig))
	ref := l.Push("debian-python", image.EStargz)
	began := time.Now()
	want := l.snapshotDiff("overlayfs", ref, began)
	if want["etc/debian_version"] == "" || want["opt/edits/large"] != "" {
		t.Errorf("the layer on overlayfs has %q and %q", want["etc/debian_version"], want["opt/edits/large"])
	}
	compareEntries(t, want, l.snapshotDiff("ladle", ref, began))
	l.commitIsKept("ladle", ref)
	l.withoutLadle(ref)
}

// withoutLadle fails the test unless, while ladle is stopped, containerd unpacks through the
// transfer service, and refuses what asks its list of differs (docs/differ.md).
func (l lab) withoutLadle(ref string) {
	l.Helper()
	id := l.written("overlayfs", ref)
	if err := l.Node.Daemon("ladle").Stop(); err != nil {
		l.Fatal(err)
	}
	if _, err := l.Node.Ctr(l.Context(), "snapshots", "diff", id); err == nil || !strings.Contains(err.Error(), "connection error") {
		l.Errorf("a diff while ladle is stopped: %v", err)
	}
	pause := l.Push("pause", image.Gzip)
	_, err := l.Node.Ctr(l.Context(), "images", "pull", "--local", "--hosts-dir", l.Node.Hosts, "--plain-http", pause)
	if err == nil || !strings.Contains(err.Error(), "connection error") {
		l.Errorf("unpacking by a client while ladle is stopped: %v", err)
	}
	l.Pull("overlayfs", pause)
	if err := l.Node.Daemon("ladle").Start(l.Context()); err != nil {
		l.Fatal(err)
	}
	wait(l, "containerd reaches ladle again", func() bool {
		_, err := l.Node.Ctr(l.Context(), "snapshots", "diff", id)
		return err == nil
	})
}

// written runs a container that has done what is committed.
func (l lab) written(snapshotter, ref string) (id string) {
	l.Helper()
	l.Pull(snapshotter, ref)
	id = l.detached(snapshotter, ref)
	l.shell(id, write)
	return id
}

// snapshotDiff is the layer that ctr prints as the diff of a container. It fails the test if
// anything is fetched for it.
func (l lab) snapshotDiff(snapshotter, ref string, began time.Time) map[string]string {
	l.Helper()
	id := l.written(snapshotter, ref)
	l.Link.Reset()
	layer := l.Ctr("snapshots", "--snapshotter", snapshotter, "diff", id)
	if n := l.Link.Counters(); n.Requests > 0 {
		l.Errorf("%s: a diff made %d requests, for %d bytes", snapshotter, n.Requests, n.BytesDown)
	}
	if err := l.Node.Remove(l.Context(), id); err != nil {
		l.Fatal(err)
	}
	entries, err := readEntries(strings.NewReader(layer), began)
	if err != nil {
		l.Fatal(err)
	}
	return entries
}

// commitIsKept makes a layer of a container, and fails the test if a collection of garbage
// deletes it before the client refers to it. The lease of the client ends before, as if the
// layer were not in it: containerd does not tell ladle which it is.
func (l lab) commitIsKept(snapshotter, ref string) {
	l.Helper()
	id := l.written(snapshotter, ref)
	_, c := l.client()
	ctx := namespaces.WithNamespace(l.Context(), "default")
	leased, end, err := c.WithLease(ctx)
	if err != nil {
		l.Fatal(err)
	}
	layer, err := rootfs.CreateDiff(leased, id, c.SnapshotService(snapshotter), c.DiffService(), diff.WithMediaType(ocispec.MediaTypeImageLayerZstd))
	if err := errors.Join(err, end(ctx)); err != nil {
		l.Fatal(err)
	}
	l.collect()
	info, err := c.ContentStore().Info(ctx, layer.Digest)
	if err != nil {
		l.Fatalf("the layer after a collection of garbage: %v", err)
	}
	if layer.MediaType != ocispec.MediaTypeImageLayerZstd || info.Size != layer.Size || info.Labels[labels.LabelUncompressed] == "" {
		l.Errorf("the layer is %+v, in the store %+v", layer, info)
	}
	if err := l.Node.Remove(l.Context(), id); err != nil {
		l.Fatal(err)
	}
}
