package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The daemons of a lab listen on sockets of the lab's own directories. Two daemons that
// are started at the same time with the same socket remove and replace each other's: one
// of them ends with "address already in use".
func TestDaemonsShareNoSocket(t *testing.T) {
	l := newLab(t, labOptions{kinds: append(everyKind(), ladleOnContainerd, ladleOnOverlayfs), recipe: smallRecipe})
	daemons := children(t)
	if want := 2 + len(l.workers); len(daemons) < want { // ladle, containerd, workers
		t.Fatalf("%d processes, want %d", len(daemons), want)
	}
	listening, sockets := listeningSockets(t), 0
	for _, pid := range daemons {
		for _, socket := range socketsOf(t, pid) {
			path, ok := listening[socket]
			if !ok {
				continue
			}
			sockets++
			if !strings.HasPrefix(path, l.dir+"/") && !strings.HasPrefix(path, l.Node.Dir+"/") {
				t.Errorf("process %d listens on %s", pid, path)
			}
		}
	}
	if sockets < len(l.workers) {
		t.Errorf("%d sockets were found of %d workers", sockets, len(l.workers))
	}
}

// children are the processes that this one started.
func children(t *testing.T) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("the kernel lists no children: %v", err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// listeningSockets are the unix sockets of this machine that somebody listens on: the
// path, an abstract one with "@", by inode (proc_net_unix(5)).
func listeningSockets(t *testing.T) map[string]string {
	t.Helper()
	const accepts = 1 << 16 // __SO_ACCEPTCON
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		if flags, err := strconv.ParseUint(fields[3], 16, 64); err == nil && flags&accepts != 0 {
			paths[fields[6]] = fields[7]
		}
	}
	return paths
}

// socketsOf are the inodes of a process's sockets.
func socketsOf(t *testing.T, pid int) (inodes []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		target, err := os.Readlink(file)
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			inodes = append(inodes, strings.TrimSuffix(inode, "]"))
		}
	}
	return inodes
}
