package settle

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// thread is the priority of the Worker's thread. The zero value is the ordinary one.
type thread struct {
	lowered bool // it has the lowest priority
}

// lower binds the calling goroutine to its thread until both end, and sets the lowest
// priority for processor and disk.
func (t *thread) lower() error {
	runtime.LockOSThread()
	err := setPriority(lowest)
	t.lowered = err == nil
	return err
}

// hurry runs do at the ordinary priority, because other goroutines may wait for it.
func (t *thread) hurry(do func() error) error {
	// In a user namespace the priority cannot be raised again, and remains the lowest.
	if t.lowered && setPriority(ordinary) == nil {
		defer func() { _ = setPriority(lowest) }() // it was possible before
	}
	return do()
}

// priority of a thread for processor (setpriority(2), nice) and disk
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

// guarded runs do, and returns a panic of it as an error, also a fault in the mapped file of
// the pool's index: settling only saves space, and its bugs must not end the process that
// serves files.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return do()
}
