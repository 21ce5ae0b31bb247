package stack

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmountBelow undoes every mount below dir, the last one first, and returns
// where they were.
func unmountBelow(dir string) ([]string, error) {
	points, err := mountsBelow(dir)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := len(points) - 1; i >= 0; i-- {
		if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("stack: unmount %s: %w", points[i], err))
		}
	}
	return points, errors.Join(errs...)
}

// mountsBelow lists the mount points below dir in the order they were mounted.
func mountsBelow(dir string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	var points []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points, nil
}

// Mounts lists where something is mounted below the node's directory.
func (n *Node) Mounts() ([]string, error) { return mountsBelow(n.Dir) }
