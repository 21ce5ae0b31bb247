package fs

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// deathPoll is how often a reader that was interrupted is looked at. The
// kernel sends one INTERRUPT only, for the first signal of any kind.
const deathPoll = 50 * time.Millisecond

// reading returns a context for a READ of the thread pid. It ends when the
// reader is about to die, and with the export.
//
// The kernel interrupts a READ (fs/fuse/dev.c, request_wait_answer) at every
// signal that the reader does not ignore, also at one that would leave a read
// from a disk alone: SIGCHLD, a timer, the Go runtime's SIGURG. If that ended
// the READ, read(2) would fail with EINTR, or with EIO through EROFS without
// FUSE_ASYNC_DIO. But if a killed reader were not answered it could not die.
// So it is asked which of the two it is.
func (e *export) reading(cancel <-chan struct{}, pid uint32) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancel(e.lifetime)
	return readContext{ctx, sync.OnceFunc(func() { go watch(ctx, end, cancel, pid) })}, end
}

// readContext has its reader watched from when somebody first asks for Done. A
// READ of what is local waits for nothing, and a goroutine for it would cost a
// fifth of its switches between threads.
type readContext struct {
	context.Context
	watch func()
}

// Done is asked for by who waits, and by who derives a context.
func (c readContext) Done() <-chan struct{} {
	c.watch()
	return c.Context.Done()
}

// watch ends the context of a READ when its reader was interrupted and is about
// to die.
func watch(ctx context.Context, end context.CancelFunc, cancel <-chan struct{}, pid uint32) {
	select {
	case <-ctx.Done():
		return
	case <-cancel:
	}
	for !dying(pid) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(deathPoll):
		}
	}
	end()
}

// dying reports whether the thread pid is gone or has a SIGKILL pending, which
// is what every fatal signal becomes (signal(7); kernel/signal.c,
// complete_signal). Of a thread in a pid namespace that is not ours, pid 0,
// nothing is known; it counts as dying, lest it cannot be killed.
func dying(pid uint32) bool {
	if pid == 0 {
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return true
	}
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		key, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(key) {
		case "State":
			if bytes.HasPrefix(value, []byte("Z")) || bytes.HasPrefix(value, []byte("X")) {
				return true
			}
		case "SigPnd", "ShdPnd":
			pending, err := strconv.ParseUint(string(value), 16, 64)
			if err == nil && pending&(1<<(unix.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	return false
}
