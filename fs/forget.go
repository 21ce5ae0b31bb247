package fs

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// forgetPoll is the interval at which the kernel is notified again about a tree in use.
const forgetPoll = time.Second

// forgetTree makes the kernel drop an unmounted tree from its caches as soon as the tree
// is not in use. A notification does not drop dentries in use and their parents, and the
// kernel does not drop them later by itself; therefore forgetTree repeats it until the
// tree is forgotten.
func (d *fuseDriver) forgetTree(number uint32) {
	name := treeName(number)
	d.conn.forget(name)
	if !d.export.startForgetting(number) {
		return
	}
	go func() {
		tick := time.NewTicker(forgetPoll)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-d.export.lifetime.Done():
				return
			}
			if !d.export.remembered(number) {
				return
			}
			// The notification has an effect only if the name is in the
			// kernel's cache.
			_, _ = os.Lstat(filepath.Join(d.dir, name))
			d.conn.forget(name)
		}
	}()
}

const notifyInvalEntry = 3 // FUSE_NOTIFY_INVAL_ENTRY, include/uapi/linux/fuse.h

// forget makes the kernel drop a name in the root directory, and the entries below it,
// from its caches (FUSE_NOTIFY_INVAL_ENTRY). It ignores errors: the name is not cached,
// or the connection was aborted.
//
// It writes to the connection's own descriptor, since the server's one may be closed and
// reused at any time.
func (c *connection) forget(name string) {
	entry := fuse.NotifyInvalEntryOut{Parent: nodeRoot, NameLen: uint32(len(name))}
	size := binary.Size(fuse.OutHeader{}) + binary.Size(entry) + len(name) + 1
	out := fuse.OutHeader{Length: uint32(size), Status: notifyInvalEntry}
	b, err := binary.Append(nil, binary.NativeEndian, out)
	if err == nil {
		b, err = binary.Append(b, binary.NativeEndian, entry)
	}
	if err == nil {
		_, _ = c.device.Write(append(append(b, name...), 0))
	}
}
