package fs

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"

	"github.com/ladle-dev/ladle/tree"
)

// childDaemon serves the root that a test gives it, with one mounted tree,
// until it is killed. It sends its connection through descriptor 3, a socket,
// if it is told to, and then answers no read.
func childDaemon(args []string) error {
	root, driver := args[0], args[1]
	ctx := context.Background()
	f, s, ids, err := openDaemon(ctx, root, driver, nil)
	if err != nil {
		return err
	}
	path, err := f.Mount(ctx, "child", over(ids...))
	if err == nil {
		_, err = f.MountMapped(ctx, "child", over(ids...), inPod(1))
	}
	if err != nil {
		return err
	}
	// A tree that comes and goes makes the kernel ask for the root again.
	if _, err := f.Mount(ctx, "gone", store.Spec{Kind: store.Lowest, Layers: ids[:1]}); err != nil {
		return err
	}
	if err := f.Release(ctx, "gone"); err != nil {
		return err
	}
	if len(args) > 2 {
		if err := sendConnection(f); err != nil {
			return err
		}
		s.book(ids[0]).onRead(func(context.Context, int64, int) error {
			fmt.Println("reading")
			select {}
		})
	}
	fmt.Println(path)
	select {}
}

func socketpair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func sendConnection(f *FileSystem) error {
	c, err := f.Connection()
	if err != nil {
		return err
	}
	return unix.Sendmsg(3, c.Init, unix.UnixRights(int(c.Device.Fd())), nil, 0)
}

func receiveConnection(t *testing.T, socket int) Connection {
	t.Helper()
	init, rights := make([]byte, 1024), make([]byte, 1024)
	n, m, _, _, err := unix.Recvmsg(socket, init, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	return Connection{os.NewFile(uintptr(fds[0]), "fuse"), init[:n]}
}

// childSuccessor takes descriptor 3 over, and says when everything is mounted.
// It closes the file system when the pipe at descriptor 4 ends. With a fourth
// argument it mounts nothing.
func childSuccessor(args []string) error {
	root, driver := args[0], args[1]
	init, err := hex.DecodeString(args[2])
	if err != nil {
		return err
	}
	ctx := context.Background()
	f, _, ids, err := openDaemon(ctx, root, driver, &Connection{os.NewFile(3, "fuse"), init})
	if err != nil {
		return err
	}
	var path string
	if len(args) == 3 {
		if path, err = f.MountMapped(ctx, "child", over(ids...), inPod(1)); err == nil {
			path, err = f.Mount(ctx, "child", over(ids...))
		}
		if err != nil {
			return err
		}
	}
	fmt.Println(path)
	_, _ = os.NewFile(4, "pipe").Read(make([]byte, 1))
	if err := f.Close(ctx); err != nil {
		return err
	}
	fmt.Println("closed")
	return nil
}

// TestTakeover kills a daemon while it reads for somebody. The keeper of its
// connection, the test, starts another: nobody notices.
func TestTakeover(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			root := testDir(t)
			t.Cleanup(func() { checkNothingLeft(t, root) })
			ours, theirs := socketpair(t)
			first := startChild(t, "daemon", []*os.File{theirs}, root, driver, "keep")
			connection := receiveConnection(t, int(ours.Fd()))
			defer connection.Device.Close()
			path := first.line(t)
			mapped := filepath.Join(root, "m", inPod(1).Name(), filepath.Base(path))
			before := mountID(t, mapped)

			reader := startChild(t, "read", nil, filepath.Join(path, "a"))
			if line := reader.line(t); line != "opened" {
				t.Fatal(line)
			}
			if line := first.line(t); line != "reading" {
				t.Fatal(line)
			}
			first.kill(t)
			late := startChild(t, "read", nil, filepath.Join(path, "a"))

			pipe, stop, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			second := startChild(t, "successor", []*os.File{connection.Device, pipe},
				root, driver, hex.EncodeToString(connection.Init))
			connection.Device.Close()
			if again := second.line(t); again != path {
				t.Errorf("mounted at %s, then at %s", path, again)
			}
			for _, c := range []*process{reader, late} {
				line := c.line(t)
				if line == "opened" {
					line = c.line(t)
				}
				if want := fmt.Sprint(daemonFile, " <nil>"); line != want {
					t.Errorf("reader says %q, want %q", line, want)
				}
			}
			_, roots, data := daemonLayers()
			compare(t, path, tree.Merge(roots...), data...)
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(mapped, "a"), &st); err != nil || st.Uid != 1<<20 || st.Size != daemonFile {
				t.Errorf("a file of the clone has %d bytes and the owner %d, %v", st.Size, st.Uid, err)
			}
			if after := mountID(t, mapped); after != before {
				t.Errorf("the clone was mount %d, and is %d", before, after)
			}
			stop.Close()
			if line := second.line(t); line != "closed" {
				t.Error(line)
			}
		})
	}
}

// TestUnwantedTrees stops a successor that had no use for a tree of before.
func TestUnwantedTrees(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			root := testDir(t)
			t.Cleanup(func() { checkNothingLeft(t, root) })
			ours, theirs := socketpair(t)
			first := startChild(t, "daemon", []*os.File{theirs}, root, driver, "keep")
			connection := receiveConnection(t, int(ours.Fd()))
			first.line(t)
			first.kill(t)
			pipe, stop, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			second := startChild(t, "successor", []*os.File{connection.Device, pipe},
				root, driver, hex.EncodeToString(connection.Init), "mount nothing")
			connection.Device.Close()
			second.line(t)
			stop.Close()
			if line := second.line(t); line != "closed" {
				t.Error(line)
			}
		})
	}
}
