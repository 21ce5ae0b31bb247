package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/stack"
)

// A daemon of the test bed has started when all of its endpoints accept clients, not the
// main one alone: ladle makes them one after the other.
func TestDaemonHasStartedWithAllEndpoints(t *testing.T) {
	dir := t.TempDir()
	var config strings.Builder
	var sockets []string
	for i := range 50 {
		sockets = append(sockets, filepath.Join(dir, fmt.Sprint(i)))
		fmt.Fprintf(&config, "[[endpoint]]\nname = \"e%d\"\naddress = %q\n", i, sockets[i])
	}
	l := newLab(t, stack.Ladle("ladle", config.String()))
	d := l.Node.Daemon("ladle")
	for range 3 {
		d.Kill()
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, socket := range sockets {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
	}
}
