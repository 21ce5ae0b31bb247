package durable

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// BootID returns the random UUID that the kernel makes at each boot (Linux
// Documentation/admin-guide/sysctl/kernel.rst, "random"). What was written and not
// synced is complete as long as it is the same, and doubtful when it is another.
func BootID() (string, error) {
	const path = "/proc/sys/kernel/random/boot_id"
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", errors.New("boot id: " + path + " is empty")
	}
	return id, nil
}
