package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"
)

// hostsTTL is the time after which lenders are asked again for hosts.
const hostsTTL = time.Minute

// told is the last answer of lenders for the hosts of a registry. It remains when the
// lenders are gone.
type told struct {
	hosts []Host
	until time.Time // lenders are not asked again before
}

// Hosts returns the hosts that have the blobs of a repository of registry, in the order in
// which they are to be tried, by the settings of its lenders: none if there is no lender,
// or none with settings for the registry. The result is shared and must not be changed. It
// fails only if ctx ends.
func (o *Offers) Hosts(ctx context.Context, registry, repository string) ([]Host, error) {
	sockets, known := o.toldOf(repository)
	if len(sockets) == 0 || o.now().Before(known.until) {
		return known.hosts, nil
	}
	return o.places.Do(ctx, fmt.Sprintf("%q %s %s", sockets, registry, repository), o.wait, func(ctx context.Context) ([]Host, error) {
		return o.askHosts(ctx, sockets, registry, repository), nil
	})
}

func (o *Offers) toldOf(repository string) (sockets []string, t told) {
	return offeredFor(o, repository, func(r *offered) told { return r.hosts })
}

// askHosts asks the lenders in turn until one has settings for the registry. It stores and
// returns the outcome; after errors that is the answer before.
func (o *Offers) askHosts(ctx context.Context, sockets []string, registry, repository string) []Host {
	var errs []error
	var hosts []Host
	for _, socket := range sockets {
		found, err := askForHosts(ctx, socket, registry)
		if err != nil && !errors.Is(err, errUnknown) {
			errs = append(errs, fmt.Errorf("%s: %w", socket, err))
		}
		if hosts = found; len(hosts) > 0 {
			break
		}
	}
	t := told{hosts, o.now().Add(hostsTTL)}
	if len(hosts) == 0 && len(errs) > 0 {
		_, before := o.toldOf(repository)
		t = told{hosts: before.hosts}
		if ctx.Err() != nil {
			t.until = o.now().Add(deafFor)
		}
		log.G(ctx).WithError(errors.Join(errs...)).WithField("repository", repository).
			Info("lenders failed to return the hosts of a registry")
	}
	o.answered(repository, sockets, func(r *offered, others bool) {
		if others {
			t.until = time.Time{}
		}
		r.hosts = t
	})
	return t.hosts
}
