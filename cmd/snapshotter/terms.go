package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/fs"
)

// terms are what must be known of a FUSE connection to take it over. They are
// in a memory file that systemd keeps beside the connection, so that they last
// exactly as long.
type terms struct {
	Format int    `json:"format"`
	Root   string `json:"root"`
	Driver string `json:"driver"`
	Init   []byte `json:"init"` // the INIT request of the kernel
	// Waiting is when the first of the processes was started that have not
	// taken the connection over, since boot; zero if it is served.
	Waiting time.Duration `json:"waiting,omitempty"`
}

const maxTerms = 1 << 20 // bytes

// newTerms makes the memory file of t.
func newTerms(t terms) (*os.File, error) {
	fd, err := unix.MemfdCreate(termsName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), termsName)
	if err := t.write(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (t terms) write(f *os.File) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(b)))
}

func readTerms(f *os.File) (t terms, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxTerms))
	if err != nil {
		return t, fmt.Errorf("terms: %w", err)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("terms: %w", err)
	}
	return t, nil
}

// differ says in what the terms of a connection differ from those that a
// process needs whose driver is "auto" if it is free to choose.
func (t terms) differ(root, driver string) error {
	switch {
	case t.Format != fs.ConnectionFormat:
		return fmt.Errorf("it is of format %d, and this version of ladle has %d", t.Format, fs.ConnectionFormat)
	case t.Root != root:
		return fmt.Errorf("its root is %s, and now it is %s", t.Root, root)
	case driver != "auto" && t.Driver != driver:
		return fmt.Errorf("its driver is %s, and now it is %s", t.Driver, driver)
	}
	return nil
}

// sinceBoot returns the time since boot, without that of sleep.
func sinceBoot() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(now.Nano()), nil
}
