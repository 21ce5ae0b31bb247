package store

import (
	"os"
	"strings"
)

// kernelBootID returns the random UUID that the kernel makes at each boot
// (Linux Documentation/admin-guide/sysctl/kernel.rst, "random").
func kernelBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
