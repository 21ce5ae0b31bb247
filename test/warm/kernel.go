package warm

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What dropCaches drops (Linux Documentation/admin-guide/sysctl/vm.rst).
const (
	dropNames = "2" // names and inodes without cached pages
	dropAll   = "3" // and page cache
)

// settle is how long the kernel's FORGETs, and what drops by itself after
// them, are given to come to an end.
const settle = 300 * time.Millisecond

// dropCaches has the kernel drop its caches, for all of the machine. Dirty
// pages are written first, as they would not be dropped. It is told twice: what
// an overlay holds of its layers is free only when the overlay's own is.
func dropCaches(what string) error {
	unix.Sync()
	for range 2 {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte(what), 0); err != nil {
			return fmt.Errorf("drop caches: %w", err)
		}
		time.Sleep(settle)
	}
	return nil
}
