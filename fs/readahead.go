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
	// defaultReadahead is the kernel's, in KiB (VM_READAHEAD_PAGES).
	defaultReadahead = 128

	// mostReadahead is how far in KiB the kernel reads ahead in a tree at most.
	// Beyond, a reader of a large file waits longer for a request than it gains
	// (measured on Linux 6.18: half the speed at 2 MiB).
	mostReadahead = 1 << 10
)

// readahead has the kernel read as far ahead in file-backed EROFS as it does on
// the disk below, where that is further than its default. The page cache takes
// what is read ahead in folios of up to that size, and a large cached file is
// read faster from larger ones: by a tenth (make bench, Linux 6.18, a disk with
// 8 MiB). It makes cold starts fetch no more, since what a layer fetches for a
// miss is more than that.
type readahead struct {
	mu sync.Mutex // held while a filesystem is created, so that its bdi is known
}

// bdiDir has a directory for each filesystem and disk that reads ahead
// (Linux Documentation/ABI/testing/sysfs-class-bdi).
const bdiDir = "/sys/class/bdi"

// during runs create, which creates an EROFS whose image is the file at path,
// and sets its readahead. EROFS tells nobody the name of its bdi, which is
// erofs- and a number (fs/super.c, super_setup_bdi); so it is the one that is
// new. If another process created one at the same time, both keep the default.
// That is no error: it is no matter of correctness.
func (r *readahead) during(path string, create func() error) error {
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

// diskReadahead returns how far in KiB the kernel reads ahead in the file at
// path, bounded by mostReadahead. It is an error if no block device is below.
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
	return min(kib, mostReadahead), err
}
