package merge_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"
)

// shown returns what can be seen below root, a line for each path: everything
// but inode numbers, times of access and change, and link counts. The root's own
// attributes are its owner and mode. phantoms allows names that are listed and
// not there: BuildKit can make whiteouts that the kernel lists, in directories
// without a lower (Linux 6.18, fs/overlayfs/inode.c, OVL_WHITEOUTS).
func shown(root string, phantoms bool) (map[string]string, error) {
	lines := map[string]string{}
	first := map[[2]uint64]string{} // path by inode, for link groups
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			if phantoms && err == unix.ENOENT {
				return nil
			}
			return err
		}
		name := strings.TrimPrefix(path, root)
		line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		if name == "" {
			lines["/"] = line
			return nil
		}
		line += fmt.Sprintf(" %d.%09d rdev %d", st.Mtim.Sec, st.Mtim.Nsec, st.Rdev)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " content " + string(b)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " to " + target
		}
		if !e.IsDir() {
			inode := [2]uint64{st.Dev, st.Ino}
			if first[inode] == "" {
				first[inode] = name
			}
			line += " as " + first[inode]
		}
		names, err := sysx.LListxattr(path)
		if err != nil {
			return err
		}
		slices.Sort(names)
		for _, key := range names {
			if strings.HasPrefix(key, "trusted.overlay.") {
				continue // seen through bind mounts, and different from run to run
			}
			value, err := sysx.LGetxattr(path, key)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %s=%s", key, value)
		}
		lines[name] = line
		return nil
	})
	return lines, err
}

// difference returns what two worlds show differently.
func difference(oracle, ladle map[string]string) string {
	var out strings.Builder
	all := maps.Clone(oracle)
	maps.Copy(all, ladle)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if oracle[path] != ladle[path] {
			fmt.Fprintf(&out, "\n%s\n  buildkit %s\n  ladle    %s", path, oracle[path], ladle[path])
		}
	}
	return out.String()
}
