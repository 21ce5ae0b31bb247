package takeover

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// TestConnectionIsStored serves a new connection. What systemd has then is what other
// versions of ladle know.
func TestConnectionIsStored(t *testing.T) {
	l := newLife(t, 64)
	r := l.start(time.Hour)
	if r.Mounts.Inherited() || r.Mounts.Stored() {
		t.Error("there is a connection before there is one")
	}
	s := newServer(t)
	if err := r.Mounts.Serve(l.ctx, own, s); err != nil {
		t.Fatal(err)
	}
	if r.Mounts.Inherited() || !r.Mounts.Stored() {
		t.Error("the connection is inherited, or not stored")
	}
	l.stores("ladle-terms", "ladle-fuse", "ladle-proof")
	if got, want := l.terms(), `{"format":7,"root":"/root","driver":"erofs","init":"AQID"}`; got != want {
		t.Errorf("terms are %s, want %s", got, want)
	}
	if err := r.Mounts.Withdraw(); err != nil {
		t.Error(err)
	}
	l.stores()
	if r.Mounts.Stored() {
		t.Error("it is stored after Withdraw")
	}
	kill(r, s)
	ended(t, s.connected)
}

// TestConnectionIsNotStored serves where systemd has no room, is not there, or cannot
// have the connection.
func TestConnectionIsNotStored(t *testing.T) {
	for room := range 3 { // for less than terms, connection and proof
		l := newLife(t, room)
		r := l.start(time.Hour)
		if err := r.Mounts.Serve(l.ctx, own, newServer(t)); err != nil {
			t.Fatal(err)
		}
		waittest.For(t, "the proof to fail", func() bool { return !r.Mounts.Stored() })
	}
	l := newLife(t, 64)
	l.store = descriptorStore{}
	r := l.start(time.Hour)
	if err := r.Mounts.Serve(l.ctx, own, newServer(t)); err != nil {
		t.Fatal(err)
	}
	if r.Mounts.Stored() || l.log.String() != "" {
		t.Errorf("without systemd it is stored %v, and logged is %q", r.Mounts.Stored(), l.log)
	}
	if err := r.Mounts.Withdraw(); err != nil {
		t.Error(err)
	}
	l = newLife(t, 64)
	r = l.start(time.Hour)
	if err := r.Mounts.Serve(l.ctx, own, nameless{newServer(t)}); err != nil {
		t.Fatal(err)
	}
	if r.Mounts.Stored() || !strings.Contains(l.log.String(), "will not outlive this process") {
		t.Errorf("it is stored %v, and logged is %q", r.Mounts.Stored(), l.log)
	}
}

// nameless is a server that has no Connection to pass on.
type nameless struct{ *server }

func (nameless) Connection() (Connection, error) { return Connection{}, errors.New("nameless") }

// TestTakeOver has processes that take one connection over after another.
func TestTakeOver(t *testing.T) {
	l := newLife(t, 64)
	r, s := l.served()
	dir, terms := s.connected, l.terms()
	for range 3 {
		kill(r, s)
		r, s = l.start(time.Hour), newServer(t)
		if !r.Mounts.Inherited() || !r.Mounts.Stored() {
			t.Fatal("the connection is not inherited, or not stored")
		}
		if got := l.terms(); !strings.Contains(got, `"waiting":`) {
			t.Errorf("the terms do not say that readers wait: %s", got)
		}
		if err := r.Mounts.Serve(l.ctx, own, s); err != nil {
			t.Fatal(err)
		}
		if s.taken == nil || s.connected != "" {
			t.Fatalf("it was not taken over: %s", l.log)
		}
		if s.taken.Driver != "erofs" || string(s.taken.Init) != "\x01\x02\x03" || !lives(t, s.device) {
			t.Errorf("taken over is %+v, and lives %v", s.taken, lives(t, s.device))
		}
		if got := l.terms(); got != terms {
			t.Errorf("the terms are %s, before %s", got, terms)
		}
		if r.Mounts.Inherited() || !r.Mounts.Stored() {
			t.Error("the connection is inherited still, or not stored")
		}
		l.stores(termsName, deviceName, proofName)
	}
	kill(r, s)
	l.systemd.Drop()
	ended(t, dir)
}

// TestConnectFails ends a process that can serve no connection.
func TestConnectFails(t *testing.T) {
	l := newLife(t, 64)
	r, s := l.served()
	kill(r, s)
	broken := &disconnected{newServer(t)}
	broken.refuses = errors.New("not this one")
	r = l.start(time.Hour)
	if err := r.Mounts.Serve(l.ctx, own, broken); !errors.Is(err, errDisconnected) {
		t.Errorf("Serve: %v", err)
	}
	if r.Mounts.Stored() {
		t.Error("a connection is stored")
	}
	ended(t, s.connected)
}

// disconnected is a server that cannot make a connection.
type disconnected struct{ *server }

var errDisconnected = errors.New("no connection")

func (disconnected) Connect(context.Context) error { return errDisconnected }

// TestServeAtTheLastMoment serves while the time of the connection is over. It is
// either taken over or refused.
func TestServeAtTheLastMoment(t *testing.T) {
	for range 20 {
		l := newLife(t, 64)
		r, first := l.served()
		kill(r, first)
		r = l.start(time.Hour)
		s := newServer(t)
		var wg sync.WaitGroup
		wg.Go(func() { r.Mounts.expire(l.ctx, time.Hour) })
		if err := r.Mounts.Serve(l.ctx, own, s); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		refused := strings.Contains(l.log.String(), "not taken over")
		if taken := s.taken != nil; taken == refused || taken == (s.connected != "") {
			t.Fatalf("taken over %v, another made %v, logged %s", taken, s.connected != "", l.log)
		}
		l.stores(termsName, deviceName, proofName)
		if !r.Mounts.Stored() || !lives(t, s.device) {
			t.Error("the connection is not stored, or does not live")
		}
		if refused {
			ended(t, first.connected)
		}
	}
}
