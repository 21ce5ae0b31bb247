package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/flight"
	"github.com/ladle-dev/ladle/lru"
)

const (
	// deafFor is the time for which lenders, or another source, are not asked again after they
	// did not answer in time. After any other answer they are asked at the next need: a build that can
	// lend may have begun.
	deafFor = 10 * time.Second

	// maxLenders bounds the lenders of one repository; the newest are kept.
	maxLenders = 4

	// maxRepositories bounds for how many repositories offers are kept.
	maxRepositories = 4096
)

// Offers are the offers of lenders. Borrowed credentials are kept in memory for as long as
// the offer is, so that an image can be read on when the build that began to read it has
// ended. It may be used concurrently.
type Offers struct {
	now    func() time.Time
	wait   time.Duration        // for all lenders of a repository together
	logins flight.Group[Login]  // by lenders and challenge
	places flight.Group[[]Host] // by lenders, registry and repository

	mu struct {
		sync.Mutex
		repositories *lru.Cache[string, *offered]
	}
}

// offered is what is known for one repository. It is guarded by the mutex of
// Offers.
type offered struct {
	sockets []string        // of lenders, the newest offer first
	loans   map[string]loan // by host
	hosts   told            // of its registry
}

// loan is the outcome of asking the lenders.
type loan struct {
	Login           // the last one without a token; it remains when its lender is gone
	until time.Time // lenders are not asked again before
	err   error     // why there is none, if the lenders did not answer in time
}

// NewOffers returns Offers without an offer.
func NewOffers() *Offers {
	o := &Offers{now: time.Now, wait: askTimeout}
	o.mu.repositories = lru.New[string, *offered](maxRepositories)
	return o
}

// Offer records the offer of the lender at socket for the repository of an image
// reference. The newest offer comes first when lenders are asked. All lenders of the
// repository are asked again at the next need, whatever they answered before. An invalid
// reference is ignored: it has no repository.
func (o *Offers) Offer(ref, socket string) {
	spec, err := reference.Parse(ref)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.mu.repositories.Get(spec.Locator)
	if !ok {
		r = &offered{loans: map[string]loan{}}
		o.mu.repositories.Add(spec.Locator, r)
	}
	r.sockets = slices.DeleteFunc(r.sockets, func(s string) bool { return s == socket })
	r.sockets = slices.Insert(r.sockets, 0, socket)
	r.sockets = r.sockets[:min(len(r.sockets), maxLenders)]
	for host, l := range r.loans {
		r.loans[host] = loan{Login: l.Login}
	}
	r.hosts.until = time.Time{}
}

// Name implements Source.
func (o *Offers) Name() string { return "lent" }

// Credentials returns the answer to c: what a lender lends now, else what one has lent
// before, else none. An error of a lender counts only if there is none.
func (o *Offers) Credentials(ctx context.Context, c Challenge) (Login, error) {
	sockets, known := o.known(c.Host, c.Repository)
	if len(sockets) == 0 || o.now().Before(known.until) {
		return known.Login, known.err
	}
	return o.logins.Do(ctx, fmt.Sprintf("%q %q", sockets, c), o.wait, func(ctx context.Context) (Login, error) {
		return o.ask(ctx, sockets, c)
	})
}

func (o *Offers) known(host, repository string) (sockets []string, l loan) {
	return offeredFor(o, repository, func(r *offered) loan { return r.loans[host] })
}

// offeredFor returns the sockets of the lenders for a repository, and the result of get
// under the lock; nothing if no lender has made an offer.
func offeredFor[T any](o *Offers, repository string, get func(*offered) T) (sockets []string, of T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.mu.repositories.Get(repository)
	if !ok {
		return nil, of
	}
	return slices.Clone(r.sockets), get(r)
}

// answered calls put under the lock to store the outcome of asking the lenders at sockets
// for a repository. others says that the lenders have changed since: they must be asked at
// the next need.
func (o *Offers) answered(repository string, sockets []string, put func(r *offered, others bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r, ok := o.mu.repositories.Peek(repository); ok {
		put(r, !slices.Equal(r.sockets, sockets))
	}
}

// ask asks the lenders in turn until one lends, and returns that Login, or else the stored
// one. It stores the Login unless it has a token, which the caller keeps until it expires.
func (o *Offers) ask(ctx context.Context, sockets []string, c Challenge) (Login, error) {
	var errs []error
	for _, socket := range sockets {
		l, err := askLender(ctx, socket, c)
		if err == nil && l != (Login{}) {
			if l.Token == "" {
				o.storeLoan(c, sockets, loan{Login: l, until: o.now().Add(answerTTL)})
			}
			return l, nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", socket, err))
		}
	}
	_, before := o.known(c.Host, c.Repository)
	before.err = nil
	if before.Login == (Login{}) {
		before.err = errors.Join(errs...)
	}
	if ctx.Err() != nil {
		before.until = o.now().Add(deafFor)
		o.storeLoan(c, sockets, before)
	}
	if before.Login != (Login{}) || len(errs) == 0 {
		return before.Login, nil
	}
	if !slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, errNobody) }) {
		return Login{}, errNobody
	}
	return Login{}, before.err
}

// storeLoan stores the outcome of asking the lenders at sockets.
func (o *Offers) storeLoan(c Challenge, sockets []string, l loan) {
	o.answered(c.Repository, sockets, func(r *offered, others bool) {
		if others {
			l.until = time.Time{}
		}
		r.loans[c.Host] = l
	})
}

// Images asks the lenders for the images known for further images that have the blob, and
// that a connected client may read. It returns their references, and records an offer for
// each, as Offer does.
func (o *Offers) Images(ctx context.Context, known []string, blob digest.Digest) []string {
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	var images []string
	for _, socket := range o.lenders(known) {
		found, err := askForImages(ctx, socket, blob)
		if err != nil && !errors.Is(err, errNobody) {
			log.G(ctx).WithError(err).WithField("socket", socket).WithField("blob", blob).Debug("lender failed to return the images with a blob")
		}
		for _, ref := range found {
			o.Offer(ref, socket)
		}
		images = append(images, found...)
	}
	return images
}

// lenders returns the sockets of all lenders for images.
func (o *Offers) lenders(images []string) (sockets []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ref := range images {
		spec, err := reference.Parse(ref)
		if err != nil {
			continue
		}
		if r, ok := o.mu.repositories.Get(spec.Locator); ok {
			sockets = append(sockets, r.sockets...)
		}
	}
	slices.Sort(sockets)
	return slices.Compact(sockets)
}
