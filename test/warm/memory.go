package warm

import (
	"fmt"
	"os"
	"strings"
)

// memory is what a process has in memory, in bytes.
type memory struct {
	rss float64 // resident
	pss float64 // the same, with what others share divided among them
}

// memoryOf reads /proc/PID/smaps_rollup (proc(5)).
func memoryOf(pid int) (memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, fmt.Errorf("warm: %w", err)
	}
	var m memory
	for line := range strings.Lines(string(data)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "Rss: %f kB", &kib); n == 1 {
			m.rss = kib * 1024
		}
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kib); n == 1 {
			m.pss = kib * 1024
		}
	}
	return m, nil
}
