package fetch

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/lru"
)

// Source identifies a blob.
type Source struct {
	Ref    string        // image reference, "host/repository:tag"
	Digest digest.Digest // of the blob
}

// Options bound a client's requests. Zero fields mean the defaults in brackets.
type Options struct {
	Timeout    time.Duration // of a request without any progress [30 s]
	MaxRetries int           // per host and range [5]
	MinWait    time.Duration // before the first retry [30 ms]
	MaxWait    time.Duration // between retries [5 s]

	// Patience is how long a reader waits [60 s]. A failing host is tried at least
	// four times in that time, and twice if it sends Retry-After.
	Patience time.Duration
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxRetries <= 0 {
		o.MaxRetries = 5
	}
	if o.MinWait <= 0 {
		o.MinWait = 30 * time.Millisecond
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 5 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	o.MaxWait = min(max(o.MinWait, o.MaxWait), o.Patience/4)
	return o
}

// retryAfter bounds the Retry-After of a host.
func (o Options) retryAfter(d time.Duration) time.Duration { return min(d, o.Patience/2) }

const (
	// maxBlobs bounds the blobs with cached host states.
	maxBlobs = 4096
)

// Client fetches from the hosts that a function returns for each repository. It may be
// used concurrently.
type Client struct {
	registries Registries
	opts       Options
	now        func() time.Time
	links      links
	blobs      *lru.Concurrent[Source, *Blob]
	known      *knownHosts
}

// New returns a client that calls registries for the hosts of a repository, including
// their credentials and TLS settings. Hosts returns such a function.
func New(registries Registries, opts Options) *Client {
	return &Client{
		registries: registries, opts: opts.withDefaults(), now: time.Now,
		blobs: lru.NewConcurrent[Source, *Blob](maxBlobs), known: newKnownHosts(),
	}
}

// Blob returns a reader of src. It sends no request. All readers of src share the cached
// state of its hosts.
func (c *Client) Blob(src Source) *Blob {
	b := &Blob{client: c, src: src}
	b.mu.states = map[*host]*hostState{}
	if b.img, b.invalid = parse(src.Ref); b.invalid == nil {
		b.invalid = src.Digest.Validate()
	}
	if known, ok, _ := c.blobs.PeekOrAdd(src, b); ok {
		c.blobs.Get(src) // updates its recency
		return known
	}
	return b
}

// plan returns a plan that tries hosts in their order; refused returns when a host
// refused the object, zero if that does not count. Hosts that refused it or are failing
// come last, the one with the oldest failure first.
func (c *Client) plan(img image, hosts []*host, refused func(*host) time.Time) *plan {
	// The next call may get other hosts, which were lent meanwhile.
	p := &plan{opts: c.opts, now: c.now, exhausted: func() { c.known.expire(img.Locator) }}
	for _, h := range hosts {
		p.candidates = append(p.candidates, p.newCandidate(h, refused(h)))
	}
	slices.SortStableFunc(p.candidates, func(a, b candidate) int { return a.failed.Compare(b.failed) })
	return p
}

// Backoff returns the time to wait before the next read of an object, after n + 1 reads
// failed. It doubles with n, and is random so that many readers do not retry at the same
// time.
func (c *Client) Backoff(n int) time.Duration { return c.opts.backoff(n) }

// backoff is from MinWait to MaxWait, less up to a half at random: see Backoff.
func (o Options) backoff(n int) time.Duration {
	wait := o.MaxWait
	if n < 32 && o.MinWait<<n > 0 {
		wait = min(wait, o.MinWait<<n)
	}
	return wait - time.Duration(rand.Float64()*float64(wait/2))
}

// image is a parsed image reference.
type image struct {
	reference.Spec
	registry string // "name:port"
	repo     string
}

func parse(ref string) (image, error) {
	spec, err := reference.Parse(ref)
	if err != nil {
		return image{}, fmt.Errorf("image reference %q: %w", ref, err)
	}
	registry := spec.Hostname()
	return image{spec, registry, strings.TrimPrefix(spec.Locator, registry+"/")}, nil
}

// repositoryKey is the key of the context value that repositoryOf returns.
type repositoryKey struct{}

// scoped returns ctx with the scope of a token for the image, and the repository that
// credentials are requested for.
func (i image) scoped(ctx context.Context) (context.Context, error) {
	ctx = context.WithValue(ctx, repositoryKey{}, i.Locator)
	return docker.ContextWithRepositoryScope(ctx, i.Spec, false)
}

// repositoryOf returns the repository of a request with ctx.
func repositoryOf(ctx context.Context) string {
	repository, _ := ctx.Value(repositoryKey{}).(string)
	return repository
}

// discard reads the short rest of a body that is not used, so that its connection can be
// reused, and closes it.
func discard(body io.ReadCloser) {
	io.CopyN(io.Discard, body, maxErrorBody) //nolint:errcheck // the connection is lost, then
	body.Close()
}
