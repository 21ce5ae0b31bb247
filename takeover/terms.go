package takeover

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Terms are the properties of a connection that a process must agree with to take it over.
type Terms struct {
	// Format says what node ids and the settings of the connection mean.
	Format int `json:"format"`
	// Root is the directory below which the connection and its trees are
	// mounted.
	Root string `json:"root"`
	// Driver is the driver of the trees on the connection (package fs). A process with
	// the driver "auto", or none, agrees with any.
	Driver string `json:"driver"`
}

// terms are the content of the memory file that systemd stores beside a
// connection, so that both last equally long.
type terms struct {
	Terms
	Init []byte `json:"init"` // the INIT request of the kernel
	// Waiting is when the first process started that was passed the
	// connection and has not come to serve it, since boot (CLOCK_MONOTONIC).
	// Zero while it is served.
	Waiting time.Duration `json:"waiting,omitempty"`
}

const maxTerms = 1 << 20 // bytes

// newTermsFile makes a memory file with the content t.
func newTermsFile(t terms) (*os.File, error) {
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

// differ returns an error that names the first difference between the terms t of a
// connection and the terms wanted of this process.
func (t Terms) differ(wanted Terms) error {
	switch {
	case t.Format != wanted.Format:
		return fmt.Errorf("it is of format %d, and this version of ladle has %d", t.Format, wanted.Format)
	case t.Root != wanted.Root:
		return fmt.Errorf("its root is %s, and now it is %s", t.Root, wanted.Root)
	case wanted.Driver != "" && wanted.Driver != "auto" && t.Driver != wanted.Driver:
		return fmt.Errorf("its driver is %s, and now it is %s", t.Driver, wanted.Driver)
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
