package kubelet

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/image"
)

// Kubelet sees the filesystem that ladle's root directory is on, and how much of it is
// free: it evicts pods and removes images by these. Then it removes an image that no pod
// uses, and the disk has what the image took.
func TestKubeletRemovesImages(t *testing.T) {
	l := newLab(t, "")
	root := l.Node.Daemon("ladle").Root
	stays := l.Push("busybox", image.EStargz)
	goes := sleeper("goes", l.Push("debian-python", image.EStargz))
	l.apply(sleeper("stays", stays))
	empty := l.diskUsage(root)
	pod := l.apply(goes)
	if out := l.exec(pod.Name, "python3", "-c", "print(6*7)"); out != "42\n" {
		t.Fatalf("python3 prints %q", out)
	}
	full := int64(0)
	l.wait("the image is there as a whole", func() error {
		now := l.diskUsage(root)
		if now == full && now-empty > 100e6 {
			return nil
		}
		full = now
		return fmt.Errorf("%.1f MB are there", float64(now-empty)/1e6)
	})
	l.seesTheDisk(root)

	l.remove(goes)
	// No disk is that empty: kubelet removes images that are not used. It evicts no static pods.
	l.k.Kill()
	l.startKubelet(Settings{
		"evictionHard": Settings{"nodefs.available": "99%", "imagefs.available": "99%"}, "imageMinimumGCAge": "1s",
	})
	l.wait("the image is gone from the disk", func() error {
		if left := l.diskUsage(root) - empty; left > (full-empty)/50 {
			return fmt.Errorf("%.1f of %.1f MB are there", float64(left)/1e6, float64(full-empty)/1e6)
		}
		return nil
	})
	l.running("stays-node")
	if out := l.exec("stays-node", "echo", "runs"); out != "runs\n" {
		t.Errorf("the other pod prints %q", out)
	}
}

// seesTheDisk compares what kubelet says of the filesystem of images with what the
// filesystem of a directory says.
func (l lab) seesTheDisk(dir string) {
	l.Helper()
	var st unix.Statfs_t
	l.wait("kubelet's view of the disk", func() error {
		seen, err := l.k.ImageFilesystem(l.Context())
		if err != nil {
			return err
		}
		if err := unix.Statfs(dir, &st); err != nil {
			return err
		}
		block := uint64(st.Bsize)
		near := func(a, b uint64) bool { return max(a, b)-min(a, b) < 1<<30 } // others write to it, too
		if seen.Capacity != st.Blocks*block || !near(seen.Available, st.Bavail*block) || seen.Inodes != st.Files || seen.Used == 0 {
			return fmt.Errorf("kubelet sees %+v, the filesystem has %d bytes, %d available, and %d inodes", seen, st.Blocks*block, st.Bavail*block, st.Files)
		}
		l.Logf("kubelet says that images use %.1f MB, and the disk %.1f MB", float64(seen.Used)/1e6, float64(l.diskUsage(dir))/1e6)
		return nil
	})
}

// diskUsage is what du says of a directory, without what is mounted below it.
func (l lab) diskUsage(dir string) (bytes int64) {
	l.Helper()
	var top syscall.Stat_t
	if err := syscall.Stat(dir, &top); err != nil {
		l.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // removed meanwhile
			}
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return nil // removed meanwhile
		}
		if st.Dev != top.Dev {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		bytes += st.Blocks * 512
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	return bytes
}
