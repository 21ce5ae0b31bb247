package cri

import (
	"context"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/auth"
)

const (
	// sweepEvery is how often it is looked for logins that are not wanted any more.
	sweepEvery = 2 * time.Second

	// proofPatience is how long a login is kept for the proofs of layers that are full.
	proofPatience = time.Hour
)

// Wants are the repositories, "registry/path", from which something may have to be fetched.
type Wants struct {
	Absent   map[string]bool // of layers of which chunks are absent
	Unproved map[string]bool // of layers that are full, for the proof of their tar
}

// Sweep forgets the logins of repositories that nobody wants any more, again and again until ctx
// ends. wants is called while there are logins. A login is kept for a proof for an hour.
func (c *Credentials) Sweep(ctx context.Context, wants func() Wants) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			c.sweep(ctx, wants, now)
		}
	}
}

func (c *Credentials) sweep(ctx context.Context, wants func() Wants, now time.Time) {
	seen := c.idle()
	if len(seen) == 0 {
		return
	}
	w := wants()
	for at, changed := range seen {
		if c.forget(at, changed, w, now) {
			c.seal(ctx, at)
			log.G(ctx).WithField("repository", at.repository).WithField("host", at.host).
				Info("the login of a repository is forgotten: nothing is left to fetch from it")
		}
	}
}

// idle returns the places without a pull in progress, with the time of their last change.
func (c *Credentials) idle() map[place]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[place]uint64{}
	for at, of := range c.mu.places {
		if len(of.pulls) == 0 {
			all[at] = of.changed
		}
	}
	return all
}

// forget forgets a place if it has not changed and its repository is not wanted.
func (c *Credentials) forget(at place, changed uint64, w Wants, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.mu.places[at]
	if of == nil || of.changed != changed {
		return false
	}
	switch {
	case w.Absent[at.repository]:
		of.unproved = time.Time{}
		return false
	case w.Unproved[at.repository] && of.unproved.IsZero():
		of.unproved = now
		return false
	case w.Unproved[at.repository] && now.Sub(of.unproved) < proofPatience:
		return false
	}
	of.accepted, of.failed = auth.Login{}, auth.Login{} // seal does the rest
	return true
}
