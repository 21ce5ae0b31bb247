package layer

import "time"

// heapDelay is how long after the last import, proof or opening of a layer the memory that
// these needed is returned to the kernel: the trees that they cached are dropped by then.
const heapDelay = treeLifetime + time.Second

// heap returns memory of the process to the kernel. The work that opens, imports and proves
// layers needs a multiple of what the daemon needs otherwise, and the Go runtime returns
// little of it to the kernel while nothing is allocated. It may be used concurrently.
type heap struct {
	timer *time.Timer
	delay time.Duration
}

// newHeap returns a heap that calls free, debug.FreeOSMemory, delay after the last use.
func newHeap(delay time.Duration, free func()) heap {
	t := time.AfterFunc(time.Hour, free) // stopped at once
	t.Stop()
	return heap{t, delay}
}

// used says that memory was needed just now.
func (h heap) used() { h.timer.Reset(h.delay) }

// stop ends the timer.
func (h heap) stop() { h.timer.Stop() }
