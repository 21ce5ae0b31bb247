package stack

import (
	"context"
	"errors"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
)

// Options say what a stack runs.
type Options struct {
	Profile        link.Profile // between the node and the registry
	Daemons        []Daemon
	CRISnapshotter string // see NodeOptions
	Containerd     Containerd
}

// Stack is a registry, a link to it, and a node behind the link.
type Stack struct {
	Registry *Registry
	Link     *link.Link
	Node     *Node
	Cache    *image.Cache
}

// Start starts a stack. The caller closes it.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	s := &Stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Cache, err = image.DefaultCache(); err != nil {
		return nil, err
	}
	if s.Registry, err = StartRegistry(ctx); err != nil {
		return nil, err
	}
	if s.Link, err = link.Listen(s.Registry.Addr, o.Profile); err != nil {
		return nil, err
	}
	s.Node, err = StartNode(ctx, NodeOptions{
		Registry: s.Link.Addr(), Daemons: o.Daemons, CRISnapshotter: o.CRISnapshotter, Containerd: o.Containerd,
	})
	return s, err
}

// PushImage makes a recipe's image in a format, puts it in the registry, not
// through the link, and returns the reference to pull it by through the link.
func (s *Stack) PushImage(ctx context.Context, name string, f image.Format) (ref string, err error) {
	img, err := s.Cache.Image(ctx, name, f)
	if err != nil {
		return "", err
	}
	to, err := s.Registry.Push(ctx, img)
	return s.Link.Addr() + "/" + to, err
}

// Close stops everything that Start started.
func (s *Stack) Close() error {
	var errs []error
	if s.Node != nil {
		errs = append(errs, s.Node.Close())
	}
	if s.Link != nil {
		errs = append(errs, s.Link.Close())
	}
	if s.Registry != nil {
		errs = append(errs, s.Registry.Close())
	}
	return errors.Join(errs...)
}
