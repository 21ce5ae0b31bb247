package settle

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// thread is the thread of the Worker. In its zero value that is any, with ordinary
// priority.
type thread struct {
	lowered bool // it has the lowest priority
}

// lower binds the calling goroutine to its thread, which ends with it, and gives that the
// lowest priority for processor and disk.
func (t *thread) lower() error {
	runtime.LockOSThread()
	err := setPriority(lowest)
	t.lowered = err == nil
	return err
}

// hurry runs do, for which others may wait, not at the lowest priority.
func (t *thread) hurry(do func() error) error {
	// Where it may not be raised again (user namespaces) it stays the lowest.
	if t.lowered && setPriority(ordinary) == nil {
		defer func() { _ = setPriority(lowest) }() // it was possible before
	}
	return do()
}

// priority is that of a thread for processor (setpriority(2), nice) and disk
// (ioprio_set(2): IOPRIO_WHO_PROCESS is 1, IOPRIO_CLASS_IDLE is 3, above 13 bits).
type priority struct{ nice, io int }

var (
	ordinary = priority{}
	lowest   = priority{nice: 19, io: 3 << 13}
)

// setPriority sets the priority of the calling thread.
func setPriority(p priority) error {
	err := unix.Setpriority(unix.PRIO_PROCESS, 0, p.nice)
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, 1, 0, uintptr(p.io)); errno != 0 {
		err = errors.Join(err, errno)
	}
	return err
}

// guarded runs do, and returns as an error what it panics with, a fault in the mapped
// file of the pool's index included: settling only saves space, and a bug of it must not
// end the process that serves files.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return do()
}
