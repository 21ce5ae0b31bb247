package e2e

import (
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// nestedOverlay does what a container engine inside the container does: it
// stacks an overlay on directories of the image, and changes what it shows.
const nestedOverlay = `
	mount -t tmpfs tmpfs /mnt
	mkdir /mnt/upper /mnt/work /mnt/merged
	mount -t overlay overlay -o lowerdir=/opt/edits:/usr,upperdir=/mnt/upper,workdir=/mnt/work /mnt/merged
	cd /mnt/merged
	cmp python3 /srv/py
	cmp lib/os-release /usr/lib/os-release
	echo new > sub/new
	test "$(cat sub/new)" = new
	chmod 700 python3
	test "$(stat -c %a python3)" = 700
	test "$(stat -c %a /opt/edits/python3)" = 755
	./python3 -c 'print("copied up")' > sub/said
	test "$(cat sub/said)" = "copied up"
	echo more >> large
	test "$(stat -c %s large)" = 11200005
	cmp -n 11200000 large /opt/edits/large
	rm setuid
	test ! -e setuid
	test -c /mnt/upper/setuid
	rm -r sub
	mkdir sub
	test -z "$(ls sub)"
	mv xattrs renamed
	test "$(python3 -c 'import os; print(os.getxattr("renamed", "user.ladle.text").decode())')" = one
	cd /
	umount /mnt/merged
	test -f /opt/edits/setuid
	test -d /opt/edits/sub/dir
`

func TestNestedOverlay(t *testing.T) {
	l := newLab(t, oneOfEach("")...)
	ref := l.Push("debian-python", image.EStargz)
	for _, snapshotter := range []string{"overlayfs", "ladle-erofs", "ladle-loop", "ladle-fuse"} {
		t.Run(snapshotter, func(t *testing.T) {
			l := l.as(t)
			l.Pull(snapshotter, ref)
			_, err := l.Node.Run(t.Context(), stack.Container{
				Snapshotter: snapshotter, Ref: ref, Flags: []string{"--privileged"}, Args: []string{"sh", "-exc", nestedOverlay},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
