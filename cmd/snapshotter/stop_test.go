package main

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// TestNoStore has a service without room for descriptors: SIGTERM is a clean
// stop.
func TestNoStore(t *testing.T) {
	u := newUnit(t, "")
	u.Drop()
	u.end(syscall.SIGTERM)
	if left := u.mounted(t); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
}

// TestCleanStop leaves nothing, neither mounted nor with systemd.
func TestCleanStop(t *testing.T) {
	u := newUnit(t, "")
	if got, want := u.Stored(), []string{"ladle-terms", "ladle-fuse", "ladle-proof", "ladle-endpoint-main", "ladle-endpoint-_control"}; !slices.Equal(got, want) {
		t.Errorf("kept are %v, want %v", got, want)
	}
	u.end(syscall.SIGINT)
	if left := u.mounted(t); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	waittest.For(t, "systemd to have nothing left", func() bool { return len(u.Stored()) == 0 })
	if _, err := os.Lstat(u.address); err == nil {
		t.Error("the socket is still there")
	}
}
