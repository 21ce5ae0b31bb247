package fs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// childRootless does in a user namespace what a rootless containerd would.
func childRootless(args []string) error {
	ctx := context.Background()
	f, s, _, err := openDaemon(ctx, args[0], "auto", nil)
	if err != nil {
		return err
	}
	lower, upper := imageLayers()
	lowerID, err := s.put("lower", lower, treetest.Pattern(1))
	if err != nil {
		return err
	}
	upperID, err := s.put("upper", upper, treetest.Pattern(2))
	if err != nil {
		return err
	}
	below, err := f.Mount(ctx, "o", over(lowerID))
	if err != nil {
		return err
	}
	above, err := f.Mount(ctx, "o", over(upperID))
	if err != nil {
		return err
	}
	target := args[1]
	options := "userxattr,lowerdir=" + above + ":" + below
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return err
	}
	merged := tree.Merge(lower, upper)
	got, err := treetest.FromDir(target)
	if err != nil {
		return err
	}
	if diffs := treetest.Diff(merged, got); len(diffs) > 0 {
		return fmt.Errorf("merged (a) and stacked (b) differ:%s", treetest.Lines(diffs, 20))
	}
	if err := treetest.CompareData(target, merged, treetest.Pattern(1), treetest.Pattern(2)); err != nil {
		return err
	}
	fmt.Println(f.Driver())
	if err := unix.Unmount(target, 0); err != nil {
		return err
	}
	if err := childDiff(ctx, f, s, target); err != nil {
		return err
	}
	if err := f.Close(ctx); err != nil {
		return err
	}
	if left, err := filepath.Glob(filepath.Join(args[0], "l/*/*")); err != nil || len(left) > 0 {
		return fmt.Errorf("left: %v (%w)", left, err)
	}
	fmt.Println("closed")
	return nil
}

func childDiff(ctx context.Context, f *FileSystem, s *shelf, target string) error {
	above, below, err := bareWhiteout(ctx, f, s)
	if err != nil {
		return err
	}
	options := "userxattr,lowerdir=" + above + ":" + below
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return err
	}
	if listed, err := os.ReadDir(target + "/d"); err != nil || len(listed) > 0 {
		return fmt.Errorf("listed: %v (%w)", listed, err)
	}
	return unix.Unmount(target, 0)
}

func TestUserNamespace(t *testing.T) {
	c := prepareChild(t, "rootless", nil, testDir(t), testDir(t))
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	c.start(t)
	if line := c.line(t); line != "fuse" {
		t.Errorf("driver %s", line)
	}
	if line := c.line(t); line != "closed" {
		t.Error(line)
	}
}
