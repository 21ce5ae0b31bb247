package takeover

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenMakesASocketForItsGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s.sock")
	l, err := newSockets(descriptorStore{}).Listen(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != 0o660 {
		t.Errorf("mode is %v", info.Mode())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is there after Close")
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false) // as after kill -9
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := newSockets(descriptorStore{}).Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	busy := filepath.Join(dir, "busy.sock")
	l, err := net.Listen("unix", busy)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{busy: "another process", file: "not a socket"} {
		if _, err := newSockets(descriptorStore{}).Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listen on %s: %v, want %q", path, err, want)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestListenTakesAnActivatedSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSockets(descriptorStore{})
	s.activated[path] = l
	if got, err := s.Listen(path, 0o600); err != nil || got != l {
		t.Errorf("listen returned %v, %v", got, err)
	}
}
