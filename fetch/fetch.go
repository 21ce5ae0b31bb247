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
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
)

// Source names a blob.
type Source struct {
	Ref    string        // image reference, "host/repository:tag"
	Digest digest.Digest // of the blob
}

// Options bound what a client does. Zero fields mean the defaults in brackets.
type Options struct {
	Timeout    time.Duration // of a request without any progress [30 s]
	MaxRetries int           // per host and range [5]
	MinWait    time.Duration // before the first retry [30 ms]
	MaxWait    time.Duration // between retries [5 s]

	// Patience is how long a reader waits [60 s]. A host that fails is asked at
	// least four times in that time, and twice if it wants to be left alone.
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

// retryAfter returns for how long a host is left alone that wants this.
func (o Options) retryAfter(d time.Duration) time.Duration { return min(d, o.Patience/2) }

const (
	// blobsRemembered bounds for how many blobs a client knows where they are.
	blobsRemembered = 4096
)

// Client fetches from the hosts that a function names for each repository. It
// may be used concurrently.
type Client struct {
	registries Registries
	opts       Options
	now        func() time.Time
	links      links
	blobs      *lru.Cache[Source, *Blob]
	known      *knownHosts
}

// New returns a client that asks registries for the hosts of a repository, with
// credentials and TLS settings in them; Hosts returns such a function.
func New(registries Registries, opts Options) *Client {
	blobs, err := lru.New[Source, *Blob](blobsRemembered)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Client{registries: registries, opts: opts.withDefaults(), now: time.Now, blobs: blobs, known: newKnownHosts()}
}

// Blob returns a reader of src. It sends nothing. What is known about where
// src is, is shared by all its readers.
func (c *Client) Blob(src Source) *Blob {
	b := &Blob{client: c, src: src}
	b.mu.places = map[*host]*place{}
	if b.img, b.invalid = parse(src.Ref); b.invalid == nil {
		b.invalid = src.Digest.Validate()
	}
	if known, ok, _ := c.blobs.PeekOrAdd(src, b); ok {
		c.blobs.Get(src) // used again
		return known
	}
	return b
}

// plan returns a plan to ask hosts in their order; refused says when a host
// refused the object, if that counts still. Hosts that refused it, and those that
// are in trouble, are last, and of them those for which it is longest ago first.
func (c *Client) plan(img image, hosts []*host, refused func(*host) time.Time) *plan {
	// Whoever asks next may find other hosts: those that were lent by then.
	p := &plan{opts: c.opts, now: c.now, exhausted: func() { c.known.expire(img.Locator) }}
	for _, h := range hosts {
		p.turns = append(p.turns, p.newTurn(h, refused(h)))
	}
	slices.SortStableFunc(p.turns, func(a, b turn) int { return a.failed.Compare(b.failed) })
	return p
}

// Backoff returns how long to wait before something is read again that could not
// be read n times more than once. It doubles, and is random so that many readers
// do not come back at once.
func (c *Client) Backoff(n int) time.Duration { return c.opts.backoff(n) }

// backoff is what Backoff says: from MinWait to MaxWait, less up to a half.
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

// scoped returns ctx with the scope that a token for the image needs, and the
// repository that credentials are wanted for.
func (i image) scoped(ctx context.Context) (context.Context, error) {
	ctx = context.WithValue(ctx, repositoryKey{}, i.Locator)
	return docker.ContextWithRepositoryScope(ctx, i.Spec, false)
}

// repositoryOf returns the repository that a request with ctx reads from.
func repositoryOf(ctx context.Context) string {
	repository, _ := ctx.Value(repositoryKey{}).(string)
	return repository
}

// discard reads what little may be left of a body that is not used, so that
// its connection can be used again, and closes it.
func discard(body io.ReadCloser) {
	io.CopyN(io.Discard, body, maxErrorBody) //nolint:errcheck // the connection is lost, then
	body.Close()
}
