package fetch

import (
	"testing"
	"time"
)

// Each wait for an answer is bounded, also by options that are no bound.
func TestHeaderTimeoutIsBounded(t *testing.T) {
	for option, want := range map[time.Duration]time.Duration{0: 30 * time.Second, -1: 30 * time.Second, time.Second: time.Second} {
		if got := newTransport(headerTimeout(option)).ResponseHeaderTimeout; got != want {
			t.Errorf("option %v: %v, want %v", option, got, want)
		}
	}
}
