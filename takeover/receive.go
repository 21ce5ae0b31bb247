package takeover

import (
	"context"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// takeoverTimeout bounds how long readers wait for a process that serves them,
// from the start of the first that was passed their connection.
const takeoverTimeout = time.Minute

// Received is what systemd passed to this process.
type Received struct {
	Mounts  *Mounts
	Sockets *Sockets
}

// Receive returns the descriptors that systemd passed to the process (sd_listen_fds(3)), and
// unsets the environment variables for them. It is called once, first of all: readers may be
// waiting for an inherited connection. If systemd did not start the process there are none,
// and nothing is going to be stored. ctx is for the log.
func Receive(ctx context.Context) Received {
	store := descriptorStore{os.Getenv("NOTIFY_SOCKET")}
	return receive(ctx, store, activation.Files(true), takeoverTimeout)
}

// receive is Receive of files, which have the names under which systemd has them.
func receive(ctx context.Context, store descriptorStore, files []*os.File, timeout time.Duration) Received {
	sockets := newSockets(store)
	var c connection
	for _, f := range files {
		switch f.Name() {
		case deviceName:
			c.device = f
		case termsName:
			c.file = f
		default:
			sockets.receive(f)
		}
	}
	mounts := &Mounts{store: store}
	if c.device != nil || c.file != nil {
		mounts.inherit(ctx, &c, timeout)
	}
	return Received{mounts, sockets}
}
