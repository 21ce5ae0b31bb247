package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/kernelversion"
	"golang.org/x/sys/unix"
)

// kernel checks what the daemon needs of the kernel and of systemd.
func (c *checker) kernel(ctx context.Context) {
	release := kernelRelease()
	c.verdict(atLeast(6, 12), "Linux "+release, Finding{"kernel", Warning,
		"Linux " + release + " has no EROFS from files (6.12); before 6.9 a restart of ladle is a stop and a start", ""})
	for _, f := range []struct{ name, module, result, without string }{
		{"overlayfs", "overlay", Failed, "no container can be started"},
		{"fuse", "fuse", Failed, "no layer can be lazy"},
		{"erofs", "erofs", Warning, "trees are served by FUSE, which is slower"},
		{"loop", "loop", Warning, "the driver loop, for kernels before 6.12, cannot be used"},
	} {
		c.verdict(hasModule(f.module), "the kernel has "+f.module, Finding{f.name, f.result,
			"the kernel has no " + f.module + ": " + f.without, "modprobe " + f.module})
	}
	name, reason, err := c.probes.Driver(ctx)
	text := fmt.Sprintf("%s: %s", name, reason)
	switch {
	case err != nil:
		c.add("driver", Failed, err.Error(), "")
	case name == "fuse":
		c.add("driver", Warning, text, "Linux 6.12 with EROFS has the fastest driver")
	default:
		c.add("driver", OK, text, "")
	}
	c.filesystem()
	c.systemd(ctx)
}

func kernelRelease() string {
	var u unix.Utsname
	_ = unix.Uname(&u) // it fails for no valid pointer
	return unix.ByteSliceToString(u.Release[:])
}

func atLeast(kernel, major uint64) bool {
	ok, err := kernelversion.GreaterEqualThan(kernelversion.KernelVersion{Kernel: kernel, Major: major})
	return ok && err == nil
}

// hasModule reports whether the kernel has a module or the same built in, or could load it.
func hasModule(name string) bool {
	if exists("/sys/module/"+name) || name == "loop" && exists("/dev/loop-control") {
		return true
	}
	known, _ := os.ReadFile("/proc/filesystems")
	if regexp.MustCompile(`(?m)\t` + name + `$`).Match(known) {
		return true
	}
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		text, _ := os.ReadFile(filepath.Join("/lib/modules", kernelRelease(), list))
		if regexp.MustCompile(`(?m)/` + name + `\.ko`).Match(text) {
			return true
		}
	}
	return false
}

// filesystem checks the one that the daemon's state is on.
func (c *checker) filesystem() {
	dir := c.opts.Daemon.Root
	for !exists(dir) {
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		c.add("filesystem", Failed, fmt.Sprintf("%s: %v", dir, err), "")
		return
	}
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs"}
	name, ok := names[int64(st.Type)]
	free := int64(st.Bavail) * st.Bsize >> 20
	c.verdict(ok, fmt.Sprintf("%s is on %s, with %d MiB free", dir, name, free), Finding{"filesystem", Failed,
		fmt.Sprintf("%s is on a filesystem of type %#x, from which the kernel mounts no trees", dir, st.Type),
		"set root in /etc/ladle/config.toml to a directory on ext4, xfs or btrfs"})
}

// systemd checks that it can restart the daemon under running containers.
func (c *checker) systemd(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "systemctl", "--version").Output()
	version := 0
	if f := strings.Fields(string(out)); err == nil && len(f) > 1 {
		version, _ = strconv.Atoi(strings.TrimFunc(f[1], func(r rune) bool { return r < '0' || r > '9' }))
	}
	switch {
	case err != nil:
		c.add("systemd", Failed, fmt.Sprintf("systemctl: %v", err), "ladle install needs systemd; docs/install.md says how to do without")
	case version < 244:
		c.add("systemd", Warning, fmt.Sprintf("systemd %d: a restart of ladle is a stop and a start", version), "")
	default:
		c.add("systemd", OK, fmt.Sprintf("systemd %d", version), "")
	}
}
