package fs

import (
	"bytes"
	"context"
	stdlog "log"
	"runtime/debug"

	"github.com/containerd/log"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serverLog receives the log of go-fuse: mostly replies to requests that were
// interrupted.
type serverLog struct{ ctx context.Context }

func (l serverLog) Write(p []byte) (int, error) {
	log.G(l.ctx).WithField("text", string(bytes.TrimSpace(p))).Debug("go-fuse log")
	return len(p), nil
}

func newServerLog(ctx context.Context) *stdlog.Logger {
	return stdlog.New(serverLog{ctx}, "", 0)
}

// panicked answers a FUSE request with EIO after a panic, and logs it, instead of ending
// the process: the mounts of all containers depend on it.
func (e *export) panicked(value any) fuse.Status {
	log.G(e.lifetime).WithField("panic", value).WithField("stack", string(debug.Stack())).
		Error("FUSE request panicked")
	return fuse.EIO
}
