package e2e

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// TestFullImageNeedsNoDaemon: the image of a container was imported and is on disk when the
// container starts. Then the daemon is killed, and a file can be read that nobody read before.
func TestFullImageNeedsNoDaemon(t *testing.T) {
	for _, driver := range []string{"erofs", "loop"} {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n", driver)))
			d := l.Node.Daemon("ladle")
			ref := l.Push("debian-python", image.Gzip)
			l.Pull("ladle", ref)
			unix.Sync()
			const tries = 5 // a mount does not wait for long for a busy disk
			for try := 1; ; try++ {
				id := l.detached("ladle", ref)
				l.shell(id, "sha256sum < /dev/null")
				d.Kill()
				sum, err := l.Node.Exec(t.Context(), id, "sha256sum", unreadFile)
				if strings.HasPrefix(sum, unreadSum) {
					if err := d.Start(t.Context()); err != nil { // it unmounts in the end
						t.Error(err)
					}
					return
				}
				l.start(d)
				if err == nil || try == tries {
					t.Fatalf("without the daemon the file has digest %q, want %s; %v", sum, unreadSum, err)
				}
				if err := l.Node.Remove(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
