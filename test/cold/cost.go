package cold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// Cost is what a pull takes of a node.
type Cost struct {
	Took time.Duration
	// Memory is the most that was resident of the daemon, or of containerd where there
	// is none, in bytes.
	Memory int64
	// Disk is what is allocated after the pull for all files of containerd and the
	// daemon, and DiskMost the most while it ran, in bytes. Of overlayfs that is the
	// same: nothing is removed.
	Disk, DiskMost int64
	Counters       link.Counters
}

// diskInterval is how often DiskMost is looked for.
const diskInterval = 100 * time.Millisecond

// MeasureCost pulls the image of s on a new node over a new link, as Measure does, and
// runs nothing in it. during is called with the node while the image is pulled, and ends
// with its context; nil for nothing.
func MeasureCost(ctx context.Context, registry string, p link.Profile, s Start, during func(context.Context)) (_ Cost, err error) {
	l, err := link.Listen(registry, p)
	if err != nil {
		return Cost{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	n, err := stack.StartNode(ctx, stack.NodeOptions{Registry: l.Addr(), Daemons: s.Daemons, Containerd: s.Containerd})
	if err != nil {
		return Cost{}, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, n.Logs())
		}
		err = errors.Join(err, n.Close())
	}()
	l.Reset()
	most := watchDisk(ctx, n)
	var aside sync.WaitGroup
	asideCtx, cancel := context.WithCancel(ctx)
	if during != nil {
		aside.Go(func() { during(asideCtx) })
	}
	began := time.Now()
	err = n.Pull(ctx, s.Snapshotter, l.Addr()+"/"+s.Image)
	c := Cost{Took: time.Since(began), Counters: l.Counters()}
	cancel()
	aside.Wait()
	c.DiskMost = most()
	if err != nil {
		return Cost{}, err
	}
	if c.Disk, err = diskUsage(n.Dir); err != nil {
		return Cost{}, err
	}
	c.DiskMost = max(c.DiskMost, c.Disk)
	pid := n.ContainerdPID()
	if d := n.Daemon(s.Snapshotter); d != nil {
		pid = d.PID()
	}
	c.Memory, err = mostResident(pid)
	return c, err
}

// watchDisk looks at what a node with a daemon has on disk until most is called, which
// returns the most. The files of overlayfs are too many to look at all the time.
func watchDisk(ctx context.Context, n *stack.Node) (most func() int64) {
	if len(n.Daemons) == 0 {
		return func() int64 { return 0 }
	}
	ctx, cancel := context.WithCancel(ctx)
	seen := make(chan int64)
	go func() {
		var largest int64
		ticker := time.NewTicker(diskInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				used, err := diskUsage(n.Dir)
				if err == nil { // the next one tells, or the one at the end
					largest = max(largest, used)
				}
			case <-ctx.Done():
				seen <- largest
				return
			}
		}
	}()
	return func() int64 {
		cancel()
		return <-seen
	}
}

// diskUsage is what du(1) --one-file-system says of dir, in bytes. Files that vanish
// meanwhile count as nothing.
func diskUsage(dir string) (int64, error) {
	var root syscall.Stat_t
	if err := syscall.Lstat(dir, &root); err != nil {
		return 0, fmt.Errorf("cold: %s: %w", dir, err)
	}
	var blocks int64
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		switch err := syscall.Lstat(name, &st); {
		case errors.Is(err, syscall.ENOENT):
			return nil
		case err != nil:
			return &fs.PathError{Op: "lstat", Path: name, Err: err}
		}
		if st.Dev != root.Dev {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !seen[st.Ino] {
			seen[st.Ino] = true
			blocks += st.Blocks
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cold: %w", err)
	}
	return blocks * 512, nil
}

// mostResident is VmHWM of a process (proc(5)), in bytes.
func mostResident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("cold: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("cold: process %d has no VmHWM", pid)
}
