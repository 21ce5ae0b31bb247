package store_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutDescriptors calls f while this process can open no more files.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	probe, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	// The lowest free descriptor is where the limit has to be.
	none := unix.Rlimit{Cur: uint64(probe.Fd()), Max: old.Max}
	probe.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}()
	f()
}
