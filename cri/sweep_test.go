package cri

import (
	"testing"
	"time"
)

// A login is kept as long as chunks of its repository are absent, an hour for a proof, while a pull
// is in progress, and if a pull has ended meanwhile; then it is gone from memory and disk.
func TestLoginsAreForgotten(t *testing.T) {
	ctx, said := withLog(t)
	dir := t.TempDir()
	c := OpenCredentials(ctx, dir)
	here := basicOf("r.example", "r.example/a")
	absent := Wants{Absent: map[string]bool{"r.example/a": true}, Unproved: map[string]bool{"r.example/a": true}}
	unproved := Wants{Unproved: map[string]bool{"r.example/a": true}}
	other := Wants{Absent: map[string]bool{"r.example/other": true}}
	now := time.Now()
	asked := 0
	sweep := func(w Wants) {
		c.sweep(ctx, func() Wants { asked++; return w }, now)
	}
	kept := func(is bool) {
		t.Helper()
		var users []string
		if is {
			users = []string{"u"}
		}
		c.wants(t, here, users...)
		OpenCredentials(ctx, dir).wants(t, here, users...)
	}
	sweep(other)
	if asked != 0 {
		t.Error("it was asked what is wanted although there is no login")
	}
	c.pulled(ctx, "r.example/a:1", "u", nil)
	sweep(absent)
	kept(true)
	now = now.Add(proofPatience)
	sweep(absent)
	sweep(unproved)
	now = now.Add(proofPatience - 1)
	sweep(unproved)
	kept(true)
	sweep(absent) // a chunk was lost
	sweep(unproved)
	now = now.Add(proofPatience - 1)
	sweep(unproved)
	kept(true)
	now = now.Add(1)
	sweep(unproved)
	kept(false)

	c.pulled(ctx, "r.example/a:1", "u", nil)
	c.pulled(ctx, "r.example/other:1", "o", nil)
	p := c.begin(ctx, pullOf("r.example/a:2", loginFields{username: "u", password: password}))
	sweep(other)
	kept(true)
	c.end(ctx, p, nil)
	c.sweep(ctx, func() Wants {
		c.pulled(ctx, "r.example/a:3", "u", nil)
		return other
	}, now)
	kept(true)
	sweep(other)
	kept(false)
	c.wants(t, basicOf("r.example", "r.example/other"), "o")
	if n := len(c.mu.places); n != 1 {
		t.Errorf("%d places are left, want 1", n)
	}
	wantNoSecret(t, dir, said)
}
