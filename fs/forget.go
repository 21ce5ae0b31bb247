package fs

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// forgetPoll is how often the kernel is asked to forget a tree that was in use.
const forgetPoll = time.Second

// forgetTree makes the kernel forget a tree that is no longer mounted, as soon
// as nothing uses it. What it has in use when it is told, and all on the way
// there, it keeps in its cache afterwards too; so it is told again and again.
func (d *fuseDriver) forgetTree(number uint32) {
	name := treeName(number)
	d.conn.forget(name)
	if !d.export.lingers(number) {
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
			if !d.export.lingering(number) {
				return
			}
			// The kernel can forget only what it has under its name.
			_, _ = os.Lstat(filepath.Join(d.dir, name))
			d.conn.forget(name)
		}
	}()
}

const notifyInvalEntry = 3 // FUSE_NOTIFY_INVAL_ENTRY, include/uapi/linux/fuse.h

// forget makes the kernel forget a name in the root directory, and what it has
// in its cache below. That it knows no such name is no matter, nor is it that
// the connection has ended.
//
// It does not use the server, which does not say when its descriptor may be of
// another file.
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
