package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Crash leaves of the node what a loss of power leaves: what is on disk. Containerd, the
// daemons and all containers are killed, mounts are undone, and containerd's state
// directory, which is in memory on a real node, is removed.
func (n *Node) Crash() error {
	n.containerd.Kill()
	for _, d := range n.Daemons {
		d.Kill()
	}
	err := killShims(n.Address)
	_, unmountErr := unmountBelow(n.Dir)
	if err := errors.Join(err, unmountErr); err != nil {
		return err
	}
	if err := os.RemoveAll(n.stateDir()); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	return nil
}

// killShims kills the shims of the containerd that listens on the socket, and all that
// they started, and returns when they are gone.
func killShims(socket string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		all, err := processes()
		if err != nil {
			return err
		}
		left := belowShims(all, socket)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("stack: processes %v are not gone within a minute", left)
		}
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
		}
	}
}

// proc is a process that has not ended.
type proc struct {
	pid, parent int
	command     string // its arguments, with a space after each
}

func processes() ([]proc, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []proc
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			return nil, err
		}
		status, err := os.ReadFile(filepath.Join(name, "stat"))
		if err != nil {
			continue // it has ended
		}
		// The command in parentheses is followed by the state and the parent, proc(5).
		_, rest, _ := strings.Cut(string(status[strings.LastIndexByte(string(status), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, err
		}
		command, err := os.ReadFile(filepath.Join(name, "cmdline"))
		if err != nil {
			continue
		}
		all = append(all, proc{pid, parent, strings.ReplaceAll(string(command), "\x00", " ")})
	}
	return all, nil
}

// belowShims are the shims of a containerd and all processes below them. A shim takes in
// the processes of its containers that lose their parent.
func belowShims(all []proc, socket string) (pids []int) {
	chosen := map[int]bool{}
	for again := true; again; {
		again = false
		for _, p := range all {
			shim := strings.Contains(p.command, "containerd-shim") && strings.Contains(p.command, "-address "+socket+" ")
			if !chosen[p.pid] && (shim || chosen[p.parent]) {
				chosen[p.pid], again = true, true
				pids = append(pids, p.pid)
			}
		}
	}
	return pids
}
