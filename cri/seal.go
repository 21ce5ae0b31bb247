package cri

import (
	"context"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/auth"
)

// OpenCredentials returns the logins that are sealed in dir, which is made if it is not there. If
// the directory cannot be used, which is logged, logins are kept in memory only. ctx is for the
// log.
func OpenCredentials(ctx context.Context, dir string) *Credentials {
	return openCredentials(ctx, dir, maxPlaces)
}

// openCredentials is OpenCredentials with at most so many places.
func openCredentials(ctx context.Context, dir string, most int) *Credentials {
	c := &Credentials{most: most}
	c.mu.places = map[place]*logins{}
	v, err := openVault(ctx, dir)
	var sealed []record
	if err == nil {
		sealed, err = v.readAll(ctx)
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("dir", dir).Warn("the logins of CRI's pulls are kept in memory only: a restart loses them")
		return c
	}
	c.vault = v
	for n, r := range sealed {
		if n < len(sealed)-most {
			if err := v.remove(r.place()); err != nil {
				log.G(ctx).WithError(err).WithField("dir", dir).Warn("the oldest sealed login of CRI's pulls is not removed")
			}
			continue
		}
		c.mu.clock++
		c.mu.places[r.place()] = &logins{accepted: r.login(), sealed: r.login(), changed: c.mu.clock}
	}
	return c
}

// seal makes what is sealed of a place equal to what is in memory, and forgets the place if that is
// nothing. A failure is logged.
func (c *Credentials) seal(ctx context.Context, at place) {
	defer c.files.Lock(at)()
	want, have := c.toSeal(at)
	if want != have {
		err := c.replace(at, want)
		logger := log.G(ctx).WithField("repository", at.repository)
		switch {
		case err != nil:
			logger.WithError(err).Warn("the login of a pull is not kept on disk as it should be: a restart may lose it")
			return
		case want != (auth.Login{}):
			logger.Info("the login that came with a pull is sealed on disk until the layers of its image are local")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.mu.places[at]; of != nil {
		of.sealed = want
		c.dropEmptyLocked(at)
	}
}

// toSeal returns which login of a place is to be sealed, and which one is.
func (c *Credentials) toSeal(at place) (want, have auth.Login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.mu.places[at]
	if of == nil || c.vault == nil {
		return want, have
	}
	return of.accepted, of.sealed
}

// replace replaces the sealed login of a place; l may be none.
func (c *Credentials) replace(at place, l auth.Login) error {
	if l == (auth.Login{}) {
		return c.vault.remove(at)
	}
	return c.vault.write(at, l, time.Now())
}
