package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// defaultReadahead is the kernel's default in KiB (VM_READAHEAD_PAGES).
	defaultReadahead = 128

	// maxReadahead bounds the readahead of a tree, in KiB. Larger values slow the
	// reader of a large file down: it waits longer for each request (measured on
	// Linux 6.18: half the speed at 2 MiB).
	maxReadahead = 1 << 10
)

// readahead sets the readahead of file-backed EROFS to that of the disk below, if that is
// more than the default. The page cache uses folios of up to the size of the readahead,
// and a large cached file is read faster from larger ones: by a tenth (make bench, Linux
// 6.18, a disk with 8 MiB). Cold starts do not fetch more, since a layer fetches more
// than that for a miss.
type readahead struct {
	mu sync.Mutex // held while a filesystem is created, to identify its bdi
}

// bdiDir has a directory for each backing device of a filesystem or disk (Linux
// Documentation/ABI/testing/sysfs-class-bdi).
const bdiDir = "/sys/class/bdi"

// around calls create, which creates an EROFS from the image at path, and sets its
// readahead. The kernel does not return the name of the bdi, which is erofs- and a number
// (fs/super.c, super_setup_bdi); it is the bdi that is new afterwards. If another process
// created one at the same time, both have the default. Errors are ignored: readahead does
// not affect correctness.
func (r *readahead) around(path string, create func() error) error {
	want, err := diskReadahead(path)
	if err != nil || want <= defaultReadahead {
		return create()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := erofsBDIs()
	if err := create(); err != nil {
		return err
	}
	var added []string
	for name := range erofsBDIs() {
		if !before[name] {
			added = append(added, name)
		}
	}
	if len(added) == 1 {
		_ = os.WriteFile(filepath.Join(bdiDir, added[0], "read_ahead_kb"), []byte(strconv.Itoa(want)), 0)
	}
	return nil
}

func erofsBDIs() map[string]bool {
	names := map[string]bool{}
	entries, _ := os.ReadDir(bdiDir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "erofs-") {
			names[e.Name()] = true
		}
	}
	return names
}

// diskReadahead returns the readahead in KiB of the disk with the file at path, at most
// maxReadahead. It returns an error if the filesystem is not on a block device.
func diskReadahead(path string) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	disk := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	text, err := os.ReadFile(disk + "/bdi/read_ahead_kb")
	if errors.Is(err, os.ErrNotExist) { // a partition; it is in its disk's directory
		text, err = os.ReadFile(disk + "/../bdi/read_ahead_kb")
	}
	if err != nil {
		return 0, err
	}
	kib, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return min(kib, maxReadahead), err
}
