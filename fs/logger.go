package fs

import (
	"bytes"
	"context"
	stdlog "log"
	"runtime/debug"

	"github.com/containerd/log"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serverLog takes what go-fuse logs: replies that the kernel no longer wanted,
// mostly.
type serverLog struct{ ctx context.Context }

func (l serverLog) Write(p []byte) (int, error) {
	log.G(l.ctx).WithField("from", "go-fuse").Debug(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func newServerLog(ctx context.Context) *stdlog.Logger {
	return stdlog.New(serverLog{ctx}, "", 0)
}

// panicked answers a request that met a bug with an error, and tells of it:
// the mounts of all containers depend on this process.
func (e *export) panicked(value any) fuse.Status {
	log.G(e.lifetime).WithField("panic", value).WithField("stack", string(debug.Stack())).
		Error("a request of the kernel met a bug")
	return fuse.EIO
}
