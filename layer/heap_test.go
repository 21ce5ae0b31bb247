package layer

import (
	"testing"
	"time"
)

func TestHeapIsFreedAfterUse(t *testing.T) {
	freed := make(chan struct{}, 1)
	h := newHeap(time.Millisecond, func() { freed <- struct{}{} })
	for range 2 {
		h.used()
		<-freed
	}
	h.delay = time.Hour
	h.used()
	h.stop()
	select {
	case <-freed:
		t.Error("freed without a use")
	default:
	}
}
