package fetch

import (
	"fmt"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

func TestEstimate(t *testing.T) {
	var e estimate
	if e.link() != (Link{}) {
		t.Error("something is known from nothing")
	}
	e.transfer(minTransfer-1, time.Second)
	if e.link().Bandwidth != 0 {
		t.Error("a small transfer says something about bandwidth")
	}
	e.transfer(heavyTransfer, time.Second)
	if got := e.link().Bandwidth; got != heavyTransfer {
		t.Errorf("bandwidth after the first transfer: %v", got)
	}
	e.transfer(heavyTransfer, time.Second/3)
	if got := e.link().Bandwidth / heavyTransfer; got < 1.99 || got > 2.01 {
		t.Errorf("bandwidth after a second one that was three times as fast: %v", got)
	}
	for range 100 {
		e.transfer(8*heavyTransfer, time.Second)
	}
	if got := e.link().Bandwidth / heavyTransfer; got < 7.99 || got > 8.01 {
		t.Errorf("bandwidth after many: %v", got)
	}
	e.transfer(minTransfer, 0) // faster than the clock
	if got := e.link().Bandwidth; got <= 0 || got > 1e18 {
		t.Errorf("bandwidth after a transfer without duration: %v", got)
	}
}

func TestEstimateOfRoundTrips(t *testing.T) {
	var e estimate
	for _, ms := range []time.Duration{50, 20, 90} {
		e.trip(ms * time.Millisecond)
	}
	if got := e.link().RoundTrip; got != 20*time.Millisecond {
		t.Errorf("minimum: %v", got)
	}
	for range recentTrips {
		e.trip(100 * time.Millisecond)
	}
	if got := e.link().RoundTrip; got != 100*time.Millisecond {
		t.Errorf("after the way has become longer: %v", got)
	}
	e.trip(0)
	if got := e.link().RoundTrip; got != 1 {
		t.Errorf("a round trip without duration must not look unknown: %v", got)
	}
}

// TestLink: the estimate is of the server that has the bytes.
func TestLink(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Redirect: true})
	c := client(t)
	b := blobOf(c, r, data)
	if b.Link() != (Link{}) {
		t.Error("something is known before the first request")
	}
	wantRange(t, b, data, 0, 1<<20)
	l := b.Link()
	if l.RoundTrip <= 0 || l.Bandwidth <= 0 {
		t.Errorf("link: %+v", l)
	}
	if other := blobOf(c, r, data[1:]).Link(); other.Bandwidth != 0 || other.RoundTrip == 0 {
		t.Errorf("link of a blob that was not yet redirected: %+v", other)
	}
}

// A registry that redirects to ever new names does not take ever more memory.
func TestLinksAreBounded(t *testing.T) {
	var l links
	for n := range maxServers + 10 {
		l.update(fmt.Sprint(n), func(e *estimate) { e.trip(time.Duration(n + 1)) })
	}
	if n := l.mu.servers.Len(); n != maxServers {
		t.Errorf("%d servers", n)
	}
	if l.link("0") != (Link{}) || l.link(fmt.Sprint(maxServers)).RoundTrip == 0 {
		t.Error("it is not the oldest that are forgotten")
	}
}
