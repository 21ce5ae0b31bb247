package cri

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/keylock"
)

// maxPlaces bounds the places with logins.
const maxPlaces = 512

// Credentials are the logins of pulls. They are an auth.Source with several logins for a place, and
// may be used concurrently.
type Credentials struct {
	vault *vault               // nil: logins are kept in memory only
	files keylock.Locks[place] // of the vault; acquired before mu
	most  int                  // places

	mu struct {
		sync.Mutex
		// clock counts changes, so that Sweep forgets nothing that has changed since it
		// found out what is wanted.
		clock  uint64
		places map[place]*logins
	}
}

var _ auth.Several = (*Credentials)(nil)

// logins are those of one place. They are guarded by the mutex of Credentials.
type logins struct {
	pulls    []*pull    // in progress, the newest last
	accepted auth.Login // of the latest pull that succeeded; may be none
	failed   auth.Login // of a later pull that neither succeeded nor was refused; may be none
	sealed   auth.Login // on disk; may be none
	changed  uint64     // by the clock
	unproved time.Time  // since when they are kept for proofs only; zero: they are not
}

// pull is a pull with a login.
type pull struct {
	place
	login auth.Login
	image string // reference, with tag or digest
}

// Name returns the name of the source.
func (c *Credentials) Name() string { return "cri" }

// Credentials returns the login for a challenge that was brought last; none if no pull has
// brought any for that host and repository.
func (c *Credentials) Credentials(ctx context.Context, ch auth.Challenge) (auth.Login, error) {
	all, err := c.Logins(ctx, ch)
	if len(all) == 0 {
		return auth.Login{}, err
	}
	return all[0], nil
}

// Logins returns all logins for a challenge, in the order in which to try them: those of pulls in
// progress, the newest first, and then that of the latest pull that succeeded.
func (c *Credentials) Logins(_ context.Context, ch auth.Challenge) (all []auth.Login, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.mu.places[placeOf(ch)]
	if of == nil {
		return nil, nil
	}
	for _, p := range slices.Backward(of.pulls) {
		all = append(all, p.login)
	}
	all = append(all, of.accepted, of.failed)
	all = slices.DeleteFunc(all, func(l auth.Login) bool { return !answers(l, ch) })
	return distinct(all), nil
}

func distinct(all []auth.Login) (out []auth.Login) {
	for _, l := range all {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// begin keeps the login in the request of a pull. The caller calls end with the result, which is
// nil if there is no login.
func (c *Credentials) begin(ctx context.Context, request []byte) *pull {
	r, err := parsePull(request)
	if err != nil {
		log.G(ctx).WithError(err).Debug("the login of a pull is not read")
		return nil
	}
	p, err := r.read()
	if err != nil {
		log.G(ctx).WithError(err).WithField("image", r.image).Warn("the login that came with a pull cannot be used")
		return nil
	}
	if p == nil {
		return nil
	}
	forgotten, ok := c.add(p)
	if !ok {
		log.G(ctx).WithField("image", r.image).Warn("the login that came with a pull is not kept: too many pulls are in progress")
		return nil
	}
	if forgotten != (place{}) {
		c.seal(ctx, forgotten)
	}
	return p
}

// add adds a pull in progress. If there are too many places, it forgets the one that has not
// changed for the longest time, and returns it.
func (c *Credentials) add(p *pull) (forgotten place, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.mu.places[p.place]
	if of == nil {
		if len(c.mu.places) >= c.most {
			if forgotten, ok = c.oldestLocked(); !ok {
				return place{}, false
			}
			oldest := c.mu.places[forgotten]
			oldest.accepted, oldest.failed = auth.Login{}, auth.Login{} // seal does the rest
		}
		of = &logins{}
		c.mu.places[p.place] = of
	}
	of.pulls = append(of.pulls, p)
	c.changedLocked(of)
	return forgotten, true
}

// oldestLocked returns the place without a pull in progress that has not changed for the
// longest time; ok is false if there is none.
func (c *Credentials) oldestLocked() (oldest place, ok bool) {
	var since uint64
	for at, of := range c.mu.places {
		if len(of.pulls) == 0 && (!ok || of.changed < since) {
			oldest, since, ok = at, of.changed, true
		}
	}
	return oldest, ok
}

func (c *Credentials) changedLocked(of *logins) {
	c.mu.clock++
	of.changed = c.mu.clock
	of.unproved = time.Time{}
}

// end settles what becomes of the login of a pull, which may be nil, by the pull's error.
func (c *Credentials) end(ctx context.Context, p *pull, err error) {
	if p == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	ctx = log.WithLogger(ctx, log.G(ctx).WithField("image", p.image).WithField("host", p.host))
	c.settle(p, err)
	c.seal(ctx, p.place)
	if isRefusal(err) {
		log.G(ctx).Info("the login that came with a pull was refused, and is dropped")
	}
}

func (c *Credentials) settle(p *pull, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.mu.places[p.place]
	if n := slices.Index(of.pulls, p); n >= 0 {
		of.pulls = slices.Delete(of.pulls, n, n+1)
	}
	switch {
	case err == nil:
		of.accepted, of.failed = p.login, auth.Login{}
	case isRefusal(err):
		for _, l := range []*auth.Login{&of.accepted, &of.failed} {
			if *l == p.login {
				*l = auth.Login{}
			}
		}
	case p.login != of.accepted:
		of.failed = p.login
	}
	c.changedLocked(of)
	c.dropEmptyLocked(p.place)
}

func (c *Credentials) dropEmptyLocked(at place) {
	of := c.mu.places[at]
	if of != nil && len(of.pulls) == 0 && of.accepted == (auth.Login{}) && of.failed == (auth.Login{}) && of.sealed == (auth.Login{}) {
		delete(c.mu.places, at)
	}
}

// refusals are texts of containerd's errors for what a registry does not permit. Most of these
// errors have no gRPC code of their own (core/remotes/docker: ErrInvalidAuthorization, and
// errors with the status of an answer).
var refusals = []string{"authorization failed", "401 Unauthorized", "403 Forbidden"}

// isRefusal reports whether the error of a pull says that the registry refused the login.
func isRefusal(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.Unauthenticated || s.Code() == codes.PermissionDenied ||
		s.Code() != codes.OK && slices.ContainsFunc(refusals, func(text string) bool { return strings.Contains(s.Message(), text) })
}
