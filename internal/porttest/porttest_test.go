package porttest_test

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/porttest"
)

// A port that is kept refuses connections, and can be listened on again and again.
func TestKeep(t *testing.T) {
	address, port, err := porttest.Keep()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	for range 2 {
		if _, err := net.Dial("tcp", address); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("connect: %v", err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
