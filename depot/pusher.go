package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/fetch"
)

const (
	// attempts bounds how often one object is pushed, and pushPause is the wait after
	// the first failure, which doubles.
	attempts  = 4
	pushPause = 500 * time.Millisecond
)

// registryTarget is an image in a registry.
type registryTarget struct {
	hosts fetch.Registries
	spec  reference.Spec // with a tag
}

func newRegistryTarget(ref Reference, hosts fetch.Registries) (*registryTarget, error) {
	spec, err := reference.Parse(ref.Name)
	if err == nil && (spec.Object == "" || strings.Contains(spec.Object, "@")) {
		err = errors.New("a tag is needed, and no digest")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &registryTarget{hosts, spec}, nil
}

// Put implements Target.
func (t *registryTarget) Put(ctx context.Context, desc ocispec.Descriptor, origin Origin, open Content) error {
	if o, ok := origin.(registryOrigin); ok {
		desc.Annotations = sourceOf(o.ref)
	} else {
		desc.Annotations = nil
	}
	return t.push(ctx, t.spec.Locator+"@"+desc.Digest.String(), desc, open)
}

// sourceOf returns the annotation by which containerd's pusher knows that a registry has a
// blob in another repository, too.
func sourceOf(ref string) map[string]string {
	spec, err := reference.Parse(ref)
	if err != nil {
		return nil
	}
	u, err := url.Parse("dummy://" + spec.Locator)
	if err != nil {
		return nil
	}
	return map[string]string{labels.LabelDistributionSource + "." + u.Hostname(): strings.TrimPrefix(u.Path, "/")}
}

// Name implements Target.
func (t *registryTarget) Name(ctx context.Context, d Document) error {
	return t.push(ctx, t.spec.String()+"@"+d.Digest.String(), d.Descriptor, Bytes(d.Bytes))
}

// push pushes one object under ref, several times if that fails for a reason that may
// pass.
func (t *registryTarget) push(ctx context.Context, ref string, desc ocispec.Descriptor, open Content) error {
	for attempt, pause := 1, pushPause; ; attempt, pause = attempt+1, 2*pause {
		err := t.pushOnce(ctx, ref, desc, open)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case attempt == attempts || !passing(err):
			return fmt.Errorf("push %s to %s: %w", desc.Digest, t.spec.Locator, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// originError is an error of the content that is pushed.
type originError struct{ error }

func (e originError) Unwrap() error { return e.error }

// passing reports whether a push with the error err may succeed when it is repeated.
func passing(err error) bool {
	var origin originError
	return !errors.As(err, &origin) && !errdefs.IsUnauthorized(err) && !errdefs.IsPermissionDenied(err) &&
		!errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) && !errors.Is(err, docker.ErrInvalidAuthorization)
}

func (t *registryTarget) pushOnce(ctx context.Context, ref string, desc ocispec.Descriptor, open Content) error {
	pusher, err := t.pusher(ctx, ref)
	if err != nil {
		return err
	}
	w, err := pusher.Push(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	from := &repeatable{ctx: ctx, open: open}
	defer from.Close()
	if err = content.Copy(ctx, w, from, desc.Size, desc.Digest); from.err != nil {
		return from.err
	}
	return err
}

// pusher returns a pusher without memory of earlier attempts.
func (t *registryTarget) pusher(ctx context.Context, ref string) (remotes.Pusher, error) {
	return docker.NewResolver(docker.ResolverOptions{
		Hosts: func(registry string) ([]docker.RegistryHost, error) {
			return t.hosts(ctx, registry, t.spec.Locator)
		},
		Tracker: docker.NewInMemoryTracker(),
	}).Pusher(ctx, ref)
}

// Close implements Target.
func (t *registryTarget) Close() error { return nil }

// repeatable reads content, from its start again when the pusher repeats a request.
type repeatable struct {
	ctx  context.Context
	open Content
	r    io.ReadCloser // nil: not open
	err  error         // of the content
}

// Read implements io.Reader.
func (c *repeatable) Read(p []byte) (n int, err error) {
	if c.r == nil {
		c.r, err = c.open(c.ctx)
	}
	if err == nil {
		n, err = c.r.Read(p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = originError{err}
	}
	return n, err
}

// Seek implements io.Seeker, forwards from the start.
func (c *repeatable) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errdefs.ErrNotImplemented
	}
	if err := c.Close(); err != nil {
		return 0, err
	}
	return io.CopyN(io.Discard, c, off)
}

// Close closes what is open.
func (c *repeatable) Close() (err error) {
	if c.r != nil {
		err, c.r = c.r.Close(), nil
	}
	return err
}
