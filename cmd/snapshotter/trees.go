package main

import (
	"context"

	"github.com/ladle-dev/ladle/fs"
	"github.com/ladle-dev/ladle/takeover"
)

// serveTrees returns the file system of opts. It has the mounts that the process before has left,
// if any.
func (d *daemon) serveTrees(ctx context.Context, opts fs.Options) (*fs.FileSystem, error) {
	wanted := takeover.Terms{Format: fs.ConnectionFormat, Root: opts.Root, Driver: opts.Driver}
	s := &treeServer{opts: opts}
	if err := d.Mounts.Serve(ctx, wanted, s); err != nil {
		return nil, err
	}
	return s.trees, nil
}

// treeServer makes a file system for package takeover.
type treeServer struct {
	opts  fs.Options
	trees *fs.FileSystem // nil until one is made
}

// TakeOver implements takeover.Server.
func (s *treeServer) TakeOver(ctx context.Context, c takeover.Connection) error {
	opts := s.opts
	opts.Driver = c.Driver
	opts.Takeover = &fs.Connection{Device: c.Device, Init: c.Init}
	return s.serve(ctx, opts)
}

// Connect implements takeover.Server.
func (s *treeServer) Connect(ctx context.Context) error { return s.serve(ctx, s.opts) }

func (s *treeServer) serve(ctx context.Context, opts fs.Options) (err error) {
	s.trees, err = fs.New(ctx, opts)
	return err
}

// Connection implements takeover.Server.
func (s *treeServer) Connection() (takeover.Connection, error) {
	c, err := s.trees.Connection()
	return takeover.Connection{Device: c.Device, Init: c.Init, Driver: s.trees.Driver()}, err
}
