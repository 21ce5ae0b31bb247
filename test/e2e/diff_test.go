package e2e

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
	"github.com/ladle-dev/ladle/test/stack"
)

// edit changes a container's root filesystem in every way that a layer can
// express: on what the image has, and anew.
const edit = `
	echo more >> /opt/edits/large
	chmod 600 /opt/edits/python3
	chown 7:8 /opt/edits/empty
	touch -d @1500000000 /opt/edits/setuid
	rm /srv/py /opt/edits/dangling
	rm -r /usr/share/doc/dpkg
	rm -r /usr/share/doc/adduser && mkdir /usr/share/doc/adduser && echo new > /usr/share/doc/adduser/new
	rm -r /etc/cron.daily && echo file > /etc/cron.daily
	rm /etc/debian_version && mkdir /etc/debian_version
	mv /etc/passwd /etc/passwd.moved
	mkdir -p /new/deep && echo deep > /new/deep/file && ln /new/deep/file /new/link && ln -s deep /new/symlink
	mkfifo /new/fifo && mknod /new/null c 1 3 && chmod 4755 /new/deep/file && chmod 1777 /new
	/usr/local/bin/py -c 'import os; os.setxattr("/opt/edits/xattrs", "user.ladle.text", b"two"); os.setxattr("/new", "user.new", b"3")'
`

// What a container changed becomes the same layer as on overlayfs, by ladle's differ, which
// fetches nothing for it, and by containerd's. What is committed of it shows the same tree.
func TestChangesBecomeTheSameLayer(t *testing.T) {
	l := newLabOn(t, stack.Containerd{Edit: stack.WithDiffers}, oneOfEach(onlyDemand+stack.DifferConfig)...)
	began := time.Now()
	// The same image on all: with names that only lazy layers have.
	ref := l.Push("debian-python", image.EStargz)
	want := l.change("overlayfs", ref, began)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := l.as(t)
			got := l.change("ladle-"+driver, ref, began)
			compareEntries(t, want.entries, got.entries)
			compareEntries(t, want.entries, got.walked)
			l.same(began, withoutOwn(want.committed), withoutOwn(got.committed))
			l.same(began, withoutOwn(want.applied), withoutOwn(got.applied))
		})
	}
}

// changed is what a container made of its root filesystem.
type changed struct {
	entries   map[string]string // of the layer, by name
	walked    map[string]string // the same, if containerd's own differ makes the layer
	applied   sametree.Listing  // the layer, unpacked over the image
	committed sametree.Listing  // the container's snapshot
}

func (l lab) change(snapshotter, ref string, began time.Time) changed {
	l.Helper()
	l.Pull(snapshotter, ref)
	id, err := l.Node.RunDetached(l.Context(), stack.Container{Snapshotter: snapshotter, Ref: ref, Args: []string{"sleep", "1000"}})
	if err != nil {
		l.Fatal(err)
	}
	if _, err := l.Node.Exec(l.Context(), id, "sh", "-exc", edit); err != nil {
		l.Fatal(err)
	}
	ctx, c := l.client()
	sn := c.SnapshotService(snapshotter)
	l.Link.Reset()
	layer := l.diff(ctx, id, sn, c.DiffService())
	if n := l.Link.Counters().Requests; n > 0 {
		l.Errorf("%s: the diff made %d requests", snapshotter, n)
	}
	entries, err := readLayer(ctx, c.ContentStore(), layer, began)
	if err != nil {
		l.Fatal(err)
	}
	walked, err := readLayer(ctx, c.ContentStore(), l.diff(ctx, id, sn, walking.NewWalkingDiff(c.ContentStore())), began)
	if err != nil {
		l.Fatal(err)
	}
	l.Logf("%s: a layer of %d entries", snapshotter, len(entries))
	if _, err := l.Node.Ctr(l.Context(), "task", "rm", "--force", id); err != nil {
		l.Fatal(err)
	}
	parent, err := sn.Stat(ctx, id)
	if err != nil {
		l.Fatal(err)
	}
	applied := l.apply(ctx, c, sn, layer, parent.Parent)
	if err := sn.Commit(ctx, "committed", id); err != nil {
		l.Fatal(err)
	}
	return changed{entries, walked, applied, l.listView(snapshotter, "committed")}
}

// diff makes a layer of a container.
func (l lab) diff(ctx context.Context, id string, sn snapshots.Snapshotter, by diff.Comparer) ocispec.Descriptor {
	l.Helper()
	layer, err := rootfs.CreateDiff(ctx, id, sn, by)
	if err != nil {
		l.Fatal(err)
	}
	return layer
}

// apply unpacks a layer over a committed snapshot and lists what is there then.
func (l lab) apply(ctx context.Context, c *client.Client, sn snapshots.Snapshotter, layer ocispec.Descriptor, parent string) sametree.Listing {
	l.Helper()
	mounts, err := sn.Prepare(ctx, "applied", parent)
	if err != nil {
		l.Fatal(err)
	}
	defer l.remove(ctx, sn, "applied")
	if _, err := c.DiffService().Apply(ctx, layer, mounts); err != nil {
		l.Fatal(err)
	}
	return l.listMounted(ctx, mounts, sametree.Options{NoContent: true}) // the entries have it
}

// readLayer describes each entry of a layer. Times from began on are those of
// the test's own changes.
func readLayer(ctx context.Context, store content.Provider, layer ocispec.Descriptor, began time.Time) (map[string]string, error) {
	blob, err := store.ReaderAt(ctx, layer)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return readEntries(content.NewReader(blob), began)
}

// readEntries is readLayer of the bytes of a layer.
func readEntries(layer io.Reader, began time.Time) (map[string]string, error) {
	plain, err := gzip.NewReader(layer)
	if err != nil {
		return nil, err
	}
	entries := map[string]string{}
	for tr := tar.NewReader(plain); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, tr); err != nil {
			return nil, err
		}
		when := "during the test"
		if h.ModTime.Before(began) {
			when = h.ModTime.UTC().String()
		}
		records := maps.Clone(h.PAXRecords)
		maps.DeleteFunc(records, func(name, _ string) bool { return !strings.HasPrefix(name, "SCHILY.xattr.") })
		entries[h.Name] = fmt.Sprintf("type %q mode %o owner %d:%d size %d to %q device %d:%d at %s xattrs %q content %x",
			h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Linkname, h.Devmajor, h.Devminor, when, fmt.Sprint(records), hash.Sum(nil))
	}
}

func compareEntries(t *testing.T, want, got map[string]string) {
	t.Helper()
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if want[name] != got[name] {
			t.Errorf("%q:\noverlayfs %s\nladle     %s", name, want[name], got[name])
		}
	}
}
