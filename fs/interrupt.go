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

// deathPoll is the interval at which the state of an interrupted reader is checked. The
// kernel sends one INTERRUPT only, for the first signal of any kind.
const deathPoll = 50 * time.Millisecond

// reading returns a context for a READ of the thread pid. It ends when the thread is
// about to die, and with the export.
//
// The kernel interrupts a READ (fs/fuse/dev.c, request_wait_answer) at every signal that
// the reader does not ignore, also at one that does not interrupt a read from a disk:
// SIGCHLD, a timer, the Go runtime's SIGURG. If that ended the READ, read(2) would fail
// with EINTR, or with EIO through EROFS without FUSE_ASYNC_DIO. But a killed reader
// cannot die before its READ is answered. So after an INTERRUPT, /proc is read to
// distinguish the two.
func (e *export) reading(cancel <-chan struct{}, pid uint32) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancel(e.lifetime)
	return readContext{ctx, sync.OnceFunc(func() { go watch(ctx, end, cancel, pid) })}, end
}

// readContext starts to watch the reader at the first call of Done. A READ of local data
// does not wait and never calls it; a goroutine for each such READ would cause a fifth of
// its context switches.
type readContext struct {
	context.Context
	watch func()
}

// Done is called by functions that wait for the context, and when a context is derived.
func (c readContext) Done() <-chan struct{} {
	c.watch()
	return c.Context.Done()
}

// watch calls end when the reader of a READ was interrupted and is about to die.
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

// dying reports whether the thread pid has ended or has a SIGKILL pending, which every
// fatal signal becomes (signal(7); kernel/signal.c, complete_signal). A thread in a pid
// namespace that is not visible here has pid 0 and an unknown state; it counts as dying,
// since otherwise it could not be killed.
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
