package takeover

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// listener makes an endpoint's listener.
func (l *life) listener(r Received, name, path string) net.Listener {
	l.t.Helper()
	listener, err := r.Sockets.Endpoint(l.ctx, name, path)
	if err != nil {
		l.t.Fatal(err)
	}
	return listener
}

// answers checks that a client that connects at path reaches listener.
func answers(t *testing.T, path string, listener net.Listener) {
	t.Helper()
	client := dial(t, path)
	accept(t, listener, client)
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// accept takes the next client of listener and checks that it is this one.
func accept(t *testing.T, listener net.Listener, client net.Conn) {
	t.Helper()
	if err := listener.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := client.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := server.Read(got); err != nil || got[0] != '?' {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestClientsWaitForTheSuccessor connects while there is no process.
func TestClientsWaitForTheSuccessor(t *testing.T) {
	l := newLife(t, 64)
	path := filepath.Join(t.TempDir(), "s.sock")
	r := l.start(time.Hour)
	listener := l.listener(r, "main", path)
	l.stores("ladle-endpoint-main")
	for range 2 {
		answers(t, path, listener)
		Leave(listener)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		client := dial(t, path)
		r = l.start(time.Hour)
		if err := r.Sockets.Retain(map[string]string{"main": path}); err != nil {
			t.Fatal(err)
		}
		listener = l.listener(r, "main", path)
		accept(t, listener, client)
		l.stores("ladle-endpoint-main")
	}
	if err := r.Sockets.Withdraw("main"); err != nil {
		t.Error(err)
	}
	l.stores()
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is there after a clean stop")
	}
}

// TestRetain has an endpoint that is not configured any more, one at another path, and
// one without its path. The others are not disturbed.
func TestRetain(t *testing.T) {
	l := newLife(t, 64)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	r := l.start(time.Hour)
	for _, name := range []string{"stays", "gone", "moved", "removed"} {
		listener := l.listener(r, name, path(name))
		Leave(listener)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l.stores("ladle-endpoint-stays", "ladle-endpoint-gone", "ladle-endpoint-moved", "ladle-endpoint-removed")
	if err := os.Remove(path("removed")); err != nil {
		t.Fatal(err)
	}

	r = l.start(time.Hour)
	now := map[string]string{"stays": path("stays"), "moved": path("elsewhere"), "removed": path("removed"), "new": path("new")}
	if err := r.Sockets.Retain(now); err != nil {
		t.Fatal(err)
	}
	l.stores("ladle-endpoint-stays")
	for _, name := range []string{"gone", "moved"} {
		if _, err := os.Lstat(path(name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	for name, path := range now {
		listener := l.listener(r, name, path)
		defer listener.Close()
		answers(t, path, listener)
	}
	l.stores("ladle-endpoint-stays", "ladle-endpoint-moved", "ladle-endpoint-removed", "ladle-endpoint-new")
}

// TestActivatedSocketIsSystemds has a socket unit's listener: it is neither stored nor
// removed.
func TestActivatedSocketIsSystemds(t *testing.T) {
	l := newLife(t, 64)
	path := filepath.Join(t.TempDir(), "s.sock")
	unit, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer unit.Close()
	if err := l.store.add("ladle.socket", unit); err != nil {
		t.Fatal(err)
	}
	l.stores("ladle.socket")
	r := l.start(time.Hour)
	listener := l.listener(r, "main", path)
	answers(t, path, listener)
	if err := l.store.add("later", unit); err != nil {
		t.Fatal(err)
	}
	l.stores("ladle.socket", "later") // and nothing that was sent before
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if err := r.Sockets.Withdraw("main"); err != nil {
		t.Error(err)
	}
	l.stores("ladle.socket", "later")
}

// TestOtherDescriptorsAreClosed passes what is no listening unix socket.
func TestOtherDescriptorsAreClosed(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	listening, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t.Context(), descriptorStore{}, []*os.File{listening, file}, time.Hour)
	if len(r.Sockets.activated) > 0 || len(r.Sockets.inherited) > 0 || r.Mounts.Inherited() {
		t.Errorf("received is %+v", r.Sockets)
	}
	for _, f := range []*os.File{listening, file} {
		if err := f.Close(); err == nil {
			t.Errorf("%s was open", f.Name())
		}
	}
}

// TestEndpointWithoutSystemd makes a socket that is not stored.
func TestEndpointWithoutSystemd(t *testing.T) {
	l := newLife(t, 64)
	l.store = descriptorStore{}
	path := filepath.Join(t.TempDir(), "s.sock")
	r := l.start(time.Hour)
	listener := l.listener(r, "main", path)
	answers(t, path, listener)
	if err := r.Sockets.Withdraw("main"); err != nil || l.log.String() != "" {
		t.Errorf("Withdraw: %v; logged is %q", err, l.log)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
}
