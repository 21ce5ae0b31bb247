package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/place"
)

// inside is the variable that is set in the mount namespace, to the path of scratch.
const inside = "LADLE_TEST_INSIDE"

func TestMain(m *testing.M) {
	code := 0
	var err error
	switch {
	case filepath.Base(os.Args[0]) == "systemctl":
		code, err = askInit(os.Args[1:])
	case os.Getenv(inside) == "":
		code, err = again()
	default:
		if err = changeRoot(); err == nil {
			code = m.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// again runs this program in a mount namespace, and returns its exit code. What is mounted there
// is gone when it ends.
func again() (code int, err error) {
	if os.Geteuid() != 0 {
		fmt.Println("--- SKIP: the tests of package host need root")
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "ladle-host-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+dir)
	// Go makes all mounts of the namespace private.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// scratch is where the files of the host really are.
var scratch string

// changeRoot mounts what the installation writes to over the machine's own.
func changeRoot() error {
	if _, err := place.Cache(); err != nil {
		return err
	}
	scratch = os.Getenv(inside)
	// What is synced there takes no time.
	memory := filepath.Join(scratch, "memory")
	if err := errors.Join(os.Mkdir(memory, 0o755), unix.Mount("tmpfs", memory, "tmpfs", 0, "")); err != nil {
		return err
	}
	for _, dir := range []string{"/etc", "/usr/local", "/var/lib", "/opt"} {
		if err := overlay(dir); err != nil {
			return err
		}
	}
	// Snapshots cannot be on overlayfs, and nothing is in /run after a boot.
	for _, dir := range []string{"/run", "/var/lib/containerd", "/var/lib/ladle"} {
		if err := bind(dir); err != nil {
			return err
		}
	}
	return nil
}

func overlay(dir string) error {
	var paths []string
	for _, name := range []string{"upper", "work"} {
		path := filepath.Join(scratch, "memory", name, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	return unix.Mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, paths[0], paths[1]))
}

func bind(dir string) error {
	source := filepath.Join(scratch, "bound", dir)
	for _, d := range []string{source, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount(source, dir, "", unix.MS_BIND, "")
}
