package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Types of secrets that have credentials
// (kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets).
const (
	typeConfigJSON = "kubernetes.io/dockerconfigjson"
	typeConfig     = "kubernetes.io/dockercfg"
)

// Secrets are pull secrets of a Kubernetes cluster: those of some namespaces, or some of them
// by name. Nothing else is asked of the API server, so a role in these namespaces is enough:
// for a namespace to list and watch secrets, for a name to get it, and to watch it by its
// name. Without the right to watch they are asked for once a minute.
//
// What is known stays when the API server cannot be reached. It may be used concurrently.
type Secrets struct {
	kubeconfig string
	selections []selection
	wait, most time.Duration // followWait and followMost
	start      sync.Once
	ctx        context.Context // until Close
	cancel     context.CancelFunc
	wg         sync.WaitGroup // of the goroutines that follow the selections

	mu struct {
		sync.Mutex
		followed []*followed // by selection
	}
}

// followed is what is known of a selection. It is guarded by the mutex of Secrets.
type followed struct {
	rings map[string]keyring // by name of the secret
	err   error              // of the latest attempt; nil after a success
	first chan struct{}      // closed after the first attempt
}

// NewSecrets returns the pull secrets that which names, "namespace" or "namespace/name" each,
// read as the user of the current context of a kubeconfig file. They are read from the first
// call of Start or Credentials on. The caller closes it.
func NewSecrets(kubeconfig string, which []string) *Secrets {
	s := &Secrets{kubeconfig: kubeconfig, wait: followWait, most: followMost}
	// The goroutines that follow the API server are no part of a call.
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, w := range which {
		namespace, name, named := strings.Cut(w, "/")
		if named {
			s.selections = append(s.selections, selection{namespace, name, ""})
			continue
		}
		s.selections = append(s.selections, selection{namespace, "", typeConfigJSON}, selection{namespace, "", typeConfig})
	}
	for range s.selections {
		s.mu.followed = append(s.mu.followed, &followed{rings: map[string]keyring{}, first: make(chan struct{})})
	}
	return s
}

// Start begins to follow the secrets, so that they are known when they are needed.
func (s *Secrets) Start() {
	s.start.Do(func() {
		for i, sel := range s.selections {
			s.wg.Go(func() { s.follow(sel, s.mu.followed[i]) })
		}
	})
}

// Close ends all requests to the API server. What is known stays.
func (s *Secrets) Close() error {
	s.cancel()
	s.start.Do(func() {}) // nothing is started any more
	s.wg.Wait()
	return nil
}

// Name implements Source.
func (s *Secrets) Name() string { return "secrets" }

// Credentials implements Source.
func (s *Secrets) Credentials(ctx context.Context, c Challenge) (Login, error) {
	logins, err := s.Logins(ctx, c)
	if len(logins) == 0 {
		return Login{}, err
	}
	return logins[0], nil
}

// Logins returns the logins of all secrets for the image of c, in the order in which kubelet
// tries those of a pod. It waits until each selection was asked for once.
func (s *Secrets) Logins(ctx context.Context, c Challenge) ([]Login, error) {
	s.Start()
	var rings []keyring
	var errs []error
	for i, sel := range s.selections {
		s.mu.Lock()
		f := s.mu.followed[i]
		s.mu.Unlock()
		select {
		case <-f.first:
		case <-ctx.Done():
			return nil, fmt.Errorf("secrets of %s: %w", sel, context.Cause(ctx))
		}
		s.mu.Lock()
		for _, name := range slices.Sorted(maps.Keys(f.rings)) {
			rings = append(rings, f.rings[name])
		}
		if f.err != nil {
			errs = append(errs, fmt.Errorf("secrets of %s: %w", sel, f.err))
		}
		s.mu.Unlock()
	}
	return mergeKeyrings(rings).lookup(c.image()), errors.Join(errs...)
}
