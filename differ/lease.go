package differ

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
)

const (
	// writeExpiry is when a lease of a layer that is being written ends by itself, if the
	// process is killed. A layer that takes longer is not held.
	writeExpiry = 24 * time.Hour
	// layerExpiry is how long a layer is held for the client, which refers to it from an
	// image or deletes it.
	layerExpiry = time.Hour
)

// held is a lease for the time of a call.
type held struct {
	leases leases.Manager
	own    leases.Lease // without an ID if the client has one
}

// hold returns a context for calls of containerd: in the namespace of the call that ctx is
// of, and with its lease, or with one that is made here.
func hold(ctx context.Context, all leases.Manager) (context.Context, held, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return ctx, held{}, err
	}
	ctx = namespaces.WithNamespace(ctx, namespace) // for outgoing calls
	if id, ok := leases.FromContext(ctx); ok && id != "" {
		return leases.WithLease(ctx, id), held{}, nil
	}
	own, err := all.Create(ctx, leases.WithRandomID(), leases.WithExpiration(writeExpiry))
	if err != nil {
		return ctx, held{}, err
	}
	return leases.WithLease(ctx, own.ID), held{all, own}, nil
}

// end deletes the lease. A layer that was written, which dgst names, is held by another one
// for some time.
func (h held) end(ctx context.Context, dgst digest.Digest) (err error) {
	if h.own.ID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if dgst != "" {
		err = h.keep(ctx, dgst)
	}
	return errors.Join(err, h.leases.Delete(ctx, h.own))
}

func (h held) keep(ctx context.Context, dgst digest.Digest) error {
	lease, err := h.leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(layerExpiry))
	if err != nil {
		return err
	}
	return h.leases.AddResource(ctx, lease, leases.Resource{ID: dgst.String(), Type: "content"})
}
