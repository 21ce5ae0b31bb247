package idmap

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is the name under which Namespace starts this program once more.
const process = "ladle-user-namespace"

// init makes the process that Namespace has started wait here, before anything else of the
// program runs, until it is killed.
func init() {
	if len(os.Args) == 0 || os.Args[0] != process {
		return
	}
	for {
		_ = unix.Pause()
	}
}

// Namespace returns a user namespace with the mapping m. It exists for as long as the file,
// or a mount that was made with it, does. It needs CAP_SETUID and CAP_SETGID.
//
// A user namespace is made with a process in it, and there is no other call for it in a
// program with several threads (unshare(2)).
func (m Mapping) Namespace() (*os.File, error) {
	// The process is killed when the thread ends that has started it (prctl(2),
	// PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{process}, &os.ProcAttr{
		Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: sysRanges(m.Users),
			GidMappings: sysRanges(m.Groups),
			Pdeathsig:   syscall.SIGKILL,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	// The number is p's until p is waited for.
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
	if err := errors.Join(err, end(p)); err != nil {
		ns.Close()
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	return ns, nil
}

func sysRanges(ranges []Range) []syscall.SysProcIDMap {
	var all []syscall.SysProcIDMap
	for _, r := range ranges {
		all = append(all, syscall.SysProcIDMap{ContainerID: int(r.Container), HostID: int(r.Host), Size: int(r.Size)})
	}
	return all
}

func end(p *os.Process) error {
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_, err := p.Wait()
	return err
}
