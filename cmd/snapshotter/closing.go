package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"
)

// stopTimeout bounds a clean stop as a whole. drainTimeout bounds the calls in progress, so
// that time is left to unmount.
const (
	stopTimeout  = 30 * time.Second
	drainTimeout = 10 * time.Second
)

// closers are the started parts of the daemon, in the order of their start.
type closers []closer

type closer struct {
	name  string
	close func(context.Context) error
}

// add adds the part name, which was just started; close stops it.
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

// close stops all parts, the last one first. After ctx has ended it gives each part one
// second.
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

// wait stops a part. It returns a second after the end of ctx at the latest.
func (c closer) wait(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- c.close(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// The part may be stopped already, or stop because ctx has ended.
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return ctx.Err()
	}
}
