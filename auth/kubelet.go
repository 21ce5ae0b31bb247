package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/flight"
	"github.com/ladle-dev/ladle/keylock"
)

// Kubelet has the credentials of kubelet's credential providers
// (kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider). It reads the same
// configuration, runs the same programs with the same requests, and keeps their answers as
// kubelet does. It may be used concurrently.
//
// Providers that want a token of a pod's service account (tokenAttributes) are not run: which
// pod reads a layer is not known here.
type Kubelet struct {
	config string // file, or directory of files, of kind CredentialProviderConfig
	dir    string // of the programs
	now    func() time.Time
	runs   flight.Group[*reply]
	locks  keylock.Locks[string] // of a provider and a registry, while the provider runs

	// INVARIANT: providers are those of the files with stamp.
	mu struct {
		sync.Mutex
		stamp     string
		providers []*provider
		replies   replies
	}
}

// NewKubelet returns the credentials of the providers in config, a file or a directory of
// files, whose programs are in the directory dir. Both are read when credentials are wanted,
// and again when they have changed.
func NewKubelet(config, dir string) *Kubelet {
	k := &Kubelet{config: config, dir: dir, now: time.Now}
	k.mu.replies = newReplies()
	return k
}

// Name implements Source.
func (k *Kubelet) Name() string { return "kubelet" }

// Credentials implements Source.
func (k *Kubelet) Credentials(ctx context.Context, c Challenge) (Login, error) {
	logins, err := k.Logins(ctx, c)
	if len(logins) == 0 {
		return Login{}, err
	}
	return logins[0], nil
}

// Logins returns the logins of all providers for the image of c, in the order in which kubelet
// tries them. Their life is that of the answer that has to be renewed first.
func (k *Kubelet) Logins(ctx context.Context, c Challenge) ([]Login, error) {
	providers, err := k.load()
	if err != nil {
		return nil, err
	}
	image := c.image()
	var rings []keyring
	var errs []error
	var until time.Time
	for _, p := range providers {
		if !p.matches(image) {
			continue
		}
		r, err := k.answer(ctx, p, image)
		if err != nil {
			errs = append(errs, fmt.Errorf("provider %s: %w", p.Name, err))
			continue
		}
		rings = append(rings, r.keys)
		if until.IsZero() || r.until.Before(until) {
			until = r.until
		}
	}
	logins := mergeKeyrings(rings).lookup(image)
	for i := range logins {
		logins[i].Life = max(until.Sub(k.now()), time.Millisecond)
	}
	return logins, errors.Join(errs...)
}

// load returns the providers of the configuration, read again if it has changed.
func (k *Kubelet) load() ([]*provider, error) {
	files, err := configFiles(k.config)
	if err != nil {
		return nil, err
	}
	stamp, err := stampOf(files...)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock() // held while files are read, so that they are read once
	if k.mu.providers != nil && k.mu.stamp == stamp {
		return k.mu.providers, nil
	}
	providers, err := readProviders(files)
	if err != nil {
		return nil, err
	}
	k.mu.stamp, k.mu.providers = stamp, providers
	return providers, nil
}

// answer returns the answer of a provider for an image: the cached one, which is renewed in
// the background before its time is over.
func (k *Kubelet) answer(ctx context.Context, p *provider, image string) (*reply, error) {
	if p.TokenAttributes != nil {
		return nil, errors.New("it wants the token of a pod's service account, which only kubelet has")
	}
	k.mu.Lock()
	r := k.mu.replies.get(p, image, k.now())
	due := r != nil && r.dueLocked(k.now())
	k.mu.Unlock()
	switch {
	case r == nil:
		return k.run(ctx, p, image, nil)
	case due:
		go k.run(context.WithoutCancel(ctx), p, image, r) //nolint:errcheck // a failure is cached
	}
	return r, r.err
}

// run runs a provider, unless its answer for the image is another one than stale meanwhile.
// Answers can be good for a whole registry, so for one registry a provider runs once at a
// time.
func (k *Kubelet) run(ctx context.Context, p *provider, image string, stale *reply) (*reply, error) {
	key := p.Name + " " + image
	return k.runs.Do(ctx, key, runTimeout, func(ctx context.Context) (*reply, error) {
		unlock, err := k.locks.LockContext(ctx, p.Name+" "+registryOf(image))
		if err != nil {
			return nil, err
		}
		defer unlock()
		k.mu.Lock()
		known := k.mu.replies.get(p, image, k.now())
		k.mu.Unlock()
		if known != nil && known != stale {
			return known, known.err
		}
		began := k.now()
		response, err := p.run(ctx, k.dir, image)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err != nil {
			k.mu.replies.failed(p, image, err, k.now())
			return nil, err
		}
		return k.mu.replies.add(p, image, response, began), nil
	})
}

// Refused implements Renewer: the provider is run again if its answer is not new.
func (k *Kubelet) Refused(c Challenge, l Login) {
	image := c.image()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.mu.providers {
		r := k.mu.replies.get(p, image, k.now())
		if r != nil && r.err == nil && slices.ContainsFunc(r.keys.lookup(image), l.Same) && k.now().Sub(r.began) >= retryAfter {
			k.mu.replies.drop(r)
		}
	}
}
