package erofs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// image is a tree image on disk with its data files.
type image struct {
	path    string
	devices []string
	size    int64
}

// makeImage writes the image of root and one data file per layer, a Pattern of
// the layer's number, and has fsck.erofs check it.
func makeImage(t *testing.T, root *tree.Inode, layers int, firstNID uint64) image {
	t.Helper()
	dir := t.TempDir()
	im := image{path: filepath.Join(dir, "image")}
	opts := erofs.Options{FirstNID: firstNID}
	for n := range layers {
		size := treetest.DataSize(root, n)
		opts.Devices = append(opts.Devices, size)
		im.devices = append(im.devices, filepath.Join(dir, fmt.Sprint(n)))
		writeData(t, im.devices[n], n, size)
	}
	im.size = writeImage(t, im.path, root, opts)
	fsck(t, im)
	return im
}

// writeData writes the data file of the n-th layer.
func writeData(t *testing.T, path string, n int, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(treetest.Pattern(n), 0, size)); err != nil {
		t.Fatal(err)
	}
}

func writeImage(t *testing.T, path string, root *tree.Inode, opts erofs.Options) int64 {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := erofs.Write(f, root, opts)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != size || size%tree.BlockSize != 0 {
		t.Errorf("Write says %d bytes, the file has %d, %v", size, st.Size(), err)
	}
	return size
}

// fsck has fsck.erofs (erofs-utils) walk the image and read all contents. Its
// exit status is 0 even where it finds a superblock or an inode wrong.
func fsck(t *testing.T, im image) {
	t.Helper()
	args := []string{"-d3", "--extract"}
	for _, device := range im.devices {
		args = append(args, "--device="+device)
	}
	out, err := exec.Command("fsck.erofs", append(args, im.path)...).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "No errors found\n") || strings.Contains(string(out), "<E>") {
		t.Errorf("fsck.erofs: %v\n%s", err, out)
	}
}

// mount mounts im for the time of the test and returns where. Unlike mount(2)
// it takes more options than fit in a page.
func mount(t *testing.T, im image) string {
	t.Helper()
	fsfd, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fsfd)
	settings := [][2]string{{"source", im.path}}
	for _, device := range im.devices {
		settings = append(settings, [2]string{"device", device})
	}
	for _, s := range settings {
		if err := unix.FsconfigSetString(fsfd, s[0], s[1]); err != nil {
			t.Fatalf("fsconfig %s: %v", s[0], err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		t.Fatalf("mount %s: %v%s", im.path, err, kernelSays(fsfd))
	}
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mfd)
	mnt := t.TempDir()
	if err := unix.MoveMount(mfd, "", unix.AT_FDCWD, mnt, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	unmountAtEnd(t, mnt)
	return mnt
}

// kernelSays returns the messages of a file system context.
func kernelSays(fsfd int) string {
	var text string
	for {
		line := make([]byte, 4096)
		n, err := unix.Read(fsfd, line)
		if err != nil {
			return text
		}
		text += "\n" + string(line[:n])
	}
}

func unmountAtEnd(t *testing.T, mnt string) {
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Errorf("umount %s: %v", mnt, err)
		}
	})
}

// compareMounted compares the tree that the kernel shows, and the contents
// that it reads through the devices that makeImage made, with root.
func compareMounted(t *testing.T, mnt string, root *tree.Inode, layers int) {
	t.Helper()
	data := make([]io.ReaderAt, layers)
	for n := range data {
		data[n] = treetest.Pattern(n)
	}
	compareWith(t, mnt, root, data)
}

func compareWith(t *testing.T, mnt string, root *tree.Inode, data []io.ReaderAt) {
	t.Helper()
	got, err := treetest.FromDir(mnt)
	if err != nil {
		t.Fatal(err)
	}
	if d := treetest.Diff(root, got); len(d) > 0 {
		t.Errorf("tree, mounted:%s", treetest.Lines(d, 20))
	}
	if err := treetest.CompareData(mnt, root, data...); err != nil {
		t.Error(err)
	}
}
