package takeover

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// rewrite replaces the terms that systemd has.
func (l *life) rewrite(text string) {
	l.t.Helper()
	l.withTerms(func(f *os.File) error {
		_, err := f.WriteAt([]byte(text), 0)
		return errors.Join(err, f.Truncate(int64(len(text))))
	})
}

// lose makes systemd drop a descriptor.
func (l *life) lose(name string) {
	l.t.Helper()
	if err := l.store.remove(name); err != nil {
		l.t.Fatal(err)
	}
	waittest.For(l.t, "systemd to drop "+name, func() bool { return !slices.Contains(l.systemd.Stored(), name) })
}

// TestRefused starts processes that cannot take over what was left. Readers get
// errors, the log says why, and there is a new connection, which is stored.
func TestRefused(t *testing.T) {
	left := func(format int, root, driver string, waiting time.Duration) string {
		return fmt.Sprintf(`{"format":%d,"root":%q,"driver":%q,"init":"AQID","waiting":%d}`, format, root, driver, waiting)
	}
	now, err := sinceBoot()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		before func(l *life)               // the process starts
		meant  func(dir string, s *server) // before it serves
		why    string
	}{
		"no terms":  {before: func(l *life) { l.lose(termsName) }, why: "it is not complete"},
		"no device": {before: func(l *life) { l.lose(deviceName) }, why: "it is not complete"},
		"nonsense":  {before: func(l *life) { l.rewrite("nonsense") }, why: "terms: invalid character"},
		"empty":     {before: func(l *life) { l.rewrite("") }, why: "terms: unexpected end"},
		"format":    {before: func(l *life) { l.rewrite(left(8, "/root", "erofs", 0)) }, why: "it is of format 8, and this version of ladle has 7"},
		"root":      {before: func(l *life) { l.rewrite(left(7, "/other", "erofs", 0)) }, why: "its root is /other, and now it is /root"},
		"late":      {before: func(l *life) { l.rewrite(left(7, "/root", "erofs", now-time.Hour)) }, why: "it was not served for 1h"},
		"aborted": {why: "it was aborted", meant: func(dir string, _ *server) {
			if err := unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}},
		"no takeover": {why: "some reason", meant: func(_ string, s *server) { s.refuses = errors.New("some reason") }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, 64)
			r, s := l.served()
			dir := s.connected
			kill(r, s)
			if test.before != nil {
				test.before(l)
			}
			r, s = l.start(time.Minute), newServer(t)
			if test.meant != nil {
				test.meant(dir, s)
			}
			if err := r.Mounts.Serve(l.ctx, own, s); err != nil {
				t.Fatal(err)
			}
			if s.taken != nil || s.connected == "" {
				t.Error("it was taken over, or there is no other connection")
			}
			if !strings.Contains(l.log.String(), test.why) {
				t.Errorf("logged is %q, want %q", l.log, test.why)
			}
			if name != "aborted" { // which is not mounted there any more
				ended(t, dir)
			}
			l.stores(termsName, deviceName, proofName)
			if !r.Mounts.Stored() || !lives(t, s.device) {
				t.Error("the new connection is not stored, or does not live")
			}
		})
	}
}

// TestNobodyServes has processes that end, or take their time, before they serve.
// Readers wait until a minute after the first of them, and no longer.
func TestNobodyServes(t *testing.T) {
	l := newLife(t, 64)
	r, s := l.served()
	dir := s.connected
	kill(r, s)
	kill(l.start(time.Hour), nil)
	first := l.terms()
	r = l.start(time.Hour)
	if got := l.terms(); got != first || !strings.Contains(got, `"waiting":`) {
		t.Errorf("the terms are %s, before %s", got, first)
	}
	if !r.Mounts.Inherited() || !r.Mounts.Stored() {
		t.Error("the connection does not wait")
	}
	kill(r, nil)

	r = l.start(time.Millisecond)
	waittest.For(t, "the connection to be refused", func() bool { return !r.Mounts.Inherited() })
	if r.Mounts.Stored() || !strings.Contains(l.log.String(), "it was not served for") {
		t.Errorf("it is stored %v, and logged is %q", r.Mounts.Stored(), l.log)
	}
	ended(t, dir)
	s = newServer(t)
	if err := r.Mounts.Serve(l.ctx, own, s); err != nil {
		t.Fatal(err)
	}
	if s.taken != nil || s.connected == "" {
		t.Error("it was taken over, or there is no other connection")
	}
	l.stores(termsName, deviceName, proofName)
}

// TestRefusedInTime has a process that takes longer to serve than readers wait.
func TestRefusedInTime(t *testing.T) {
	l := newLife(t, 64)
	r, s := l.served()
	kill(r, s)
	r = l.start(100 * time.Millisecond)
	ended(t, s.connected)
	if r.Mounts.Inherited() || !strings.Contains(l.log.String(), "it was not served for 100ms") {
		t.Errorf("inherited %v, logged is %q", r.Mounts.Inherited(), l.log)
	}
}
