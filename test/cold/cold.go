// Package cold measures cold starts: from the pull of an image that the node
// has never seen until a command in a container of it has printed its first
// output. Registry and link stay up; containerd, the snapshotter and their
// state are new for every sample, so no page of the image is cached.
package cold

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// Start is what is measured.
type Start struct {
	Snapshotter string         // plugin name
	Daemons     []stack.Daemon // none for overlayfs
	Image       string         // repository:tag in the registry
	Args        []string       // must print something once it is ready
	Containerd  stack.Containerd
	// Again has the image pulled before, and removed: it is pulled for the second time.
	Again bool
}

// Sample is one measurement. Bytes and requests are those until ready.
type Sample struct {
	Pull     time.Duration // the stock client's pull
	Ready    time.Duration // pull, and from there to the first output
	Counters link.Counters
	Output   string // what the command printed
}

// Measure takes one sample over a new link of the given profile to the registry at
// host:port.
func Measure(ctx context.Context, registry string, p link.Profile, s Start) (_ Sample, err error) {
	l, err := link.Listen(registry, p)
	if err != nil {
		return Sample{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	n, err := stack.StartNode(ctx, stack.NodeOptions{Registry: l.Addr(), Daemons: s.Daemons, Containerd: s.Containerd})
	if err != nil {
		return Sample{}, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, n.Logs())
		}
		err = errors.Join(err, n.Close())
	}()
	if s.Again {
		if err := pulledBefore(ctx, n, l, s, p); err != nil {
			return Sample{}, err
		}
	}
	l.Reset()
	ref := l.Addr() + "/" + s.Image
	first := &firstOutput{link: l, began: time.Now()}
	if err := n.Pull(ctx, s.Snapshotter, ref); err != nil {
		return Sample{}, err
	}
	sample := Sample{Pull: time.Since(first.began)}
	sample.Output, err = n.Run(ctx, stack.Container{Snapshotter: s.Snapshotter, Ref: ref, Args: s.Args, Output: first})
	if err == nil && first.took == 0 {
		err = fmt.Errorf("cold: %q printed nothing", s.Args)
	}
	sample.Ready, sample.Counters = first.took, first.counters
	return sample, err
}

// firstOutput notes the time and the counters when something is first written.
type firstOutput struct {
	link     *link.Link
	began    time.Time
	once     sync.Once
	took     time.Duration
	counters link.Counters
}

func (f *firstOutput) Write(p []byte) (int, error) {
	f.once.Do(func() { f.took, f.counters = time.Since(f.began), f.link.Counters() })
	return len(p), nil
}
