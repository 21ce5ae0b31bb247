package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"
)

// stopTimeout bounds a clean stop as a whole; drainTimeout is how much of it
// calls may take that are under way, so that there is time left to unmount.
const (
	stopTimeout  = 30 * time.Second
	drainTimeout = 10 * time.Second
)

// closers are the parts of the daemon that were started, in that order.
type closers []closer

type closer struct {
	name  string
	close func(context.Context) error
}

// add says how the part name, which was just started, is stopped.
func (c *closers) add(name string, close func(context.Context) error) {
	*c = append(*c, closer{name, close})
}

// above returns the parts that were started after the part name; all, if it
// was not started.
func (c closers) above(name string) closers {
	for i := range c {
		if c[i].name == name {
			return c[i+1:]
		}
	}
	return c
}

// close stops all parts, the last one first. When ctx ends it waits for no
// more of them.
func (c closers) close(ctx context.Context) error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		log.G(ctx).WithField("component", c[i].name).Debug("component stops")
		if err := c[i].wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", c[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// wait stops a part, and gives up on one that takes longer than ctx allows.
func (c closer) wait(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- c.close(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// What is done by now, or is as soon as it sees ctx, counts as done.
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return ctx.Err()
	}
}
