package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// entered are the namespaces that a process enters to be one of the host's.
var entered = []struct {
	name string
	flag int
}{{"mnt", unix.CLONE_NEWNS}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"net", unix.CLONE_NEWNET}}

// enter runs the program again, with the same arguments but for --enter, in the namespaces of a
// process, in place of this one. It returns only if that fails.
func enter(pid int, argv []string) error {
	program, err := os.Open("/proc/self/exe") // which need not be in the other namespace
	if err != nil {
		return err
	}
	defer program.Close()
	// Namespaces are those of a thread, and exec keeps those of the thread that calls it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter namespaces: %w", err)
	}
	var all []*os.File // opened before the first is entered, where /proc may be another one
	for _, ns := range entered {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
		if err != nil {
			return fmt.Errorf("enter namespaces: %w (does the pod have hostPID?)", err)
		}
		defer f.Close()
		all = append(all, f)
	}
	for n, ns := range entered {
		if err := unix.Setns(int(all[n].Fd()), ns.flag); err != nil {
			return fmt.Errorf("enter namespace %s of process %d: %w", ns.name, pid, err)
		}
	}
	err = syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), withoutFlag(argv, "enter"), hostEnv())
	return fmt.Errorf("enter namespaces: %w", errors.Join(err, errors.New("the program could not be run there")))
}

// withoutFlag returns argv without a flag and its value.
func withoutFlag(argv []string, flag string) (all []string) {
	for n := 0; n < len(argv); n++ {
		name, _, value := strings.Cut(strings.TrimLeft(argv[n], "-"), "=")
		if strings.HasPrefix(argv[n], "-") && name == flag {
			if !value {
				n++
			}
			continue
		}
		all = append(all, argv[n])
	}
	return all
}

// hostEnv is the environment of this process, with a PATH, which an image may lack.
func hostEnv() []string {
	if os.Getenv("PATH") != "" {
		return os.Environ()
	}
	return append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}
