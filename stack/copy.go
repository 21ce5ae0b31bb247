package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/settle"
)

// Copy is a copy that a client requests: what Source shows at a path, over Parent.
type Copy struct {
	Parent, Source Chain
	Request        merge.CopyRequest
}

// Upper is a directory that was made to be the upper directory of a copy.
type Upper struct {
	Dir           string
	settle.Copied // of which snapshots it has files
}

// Copy makes the upper directory of a copy of snapshots that c has pinned. Until Call.End,
// no other call adds names to files, and then Dir is deleted if it was not moved. The error
// is ErrNotImplemented if the client must copy by itself, that of ctx, or ErrUnavailable.
func (c *Call) Copy(ctx context.Context, r Copy) (*Upper, error) {
	unlock, err := c.opts.Sharing.LockNames(ctx)
	if err != nil {
		return nil, err
	}
	c.ending = append(c.ending, unlock)
	made, err := c.makeCopy(ctx, r)
	if errors.Is(err, merge.ErrCopy) || errors.Is(err, unix.EPERM) {
		// EPERM: a file is immutable, or its owner is not mapped in the user namespace.
		return nil, fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, err)
	}
	if err != nil {
		return nil, classify(err)
	}
	return made, nil
}

func (c *Call) makeCopy(ctx context.Context, r Copy) (*Upper, error) {
	found, source, err := c.findCopy(ctx, r)
	if err != nil {
		return nil, err
	}
	sources := Sources(source)
	copied, done, err := c.opts.Sharing.Link(settle.Linking{
		From: sources, Below: Sources(r.Parent.View()),
		// The clean diffs that are apart would show a second name of a file.
		Single: c.diffs.anyApart(sources),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, merge.ErrCopy)
	}
	defer done()
	name, err := c.newName(copyPrefix)
	if err != nil {
		return nil, err
	}
	dir := c.opts.Dirs.Diff(name)
	c.ending = append(c.ending, func() {
		if err := os.RemoveAll(dir); err != nil {
			log.G(ctx).WithError(err).WithField("directory", dir).Warn("cannot delete the directory of a failed copy")
		}
	})
	made, err := found.Make(ctx, dir, merge.Links{Single: copied.Single, Alone: wantsOneName})
	if err != nil {
		return nil, err
	}
	if made.Links == 0 {
		copied.From = nil
	}
	log.G(ctx).WithField("source", r.Request.Source).WithField("target", r.Request.Target).
		WithField("links", made.Links).WithField("copies", made.Copies).Debug("copy between snapshots")
	return &Upper{dir, copied}, nil
}

// findCopy looks up source and target of a copy. It also returns the lowers that have the
// source.
func (c *Call) findCopy(ctx context.Context, r Copy) (*merge.Copy, []Lower, error) {
	lowers := r.Source.View()
	stack, errStack := c.dirs(ctx, lowers)
	below, errBelow := c.dirs(ctx, r.Parent.Active())
	if err := errors.Join(errStack, errBelow); err != nil {
		return nil, nil, err
	}
	found, err := merge.FindCopy(ctx, merge.Copying{
		CopyRequest: r.Request, Stack: stack, Below: below,
		Lazy: func(i int) bool { return lowers[i].IsTree() },
	}, c.mergeOptions())
	if err != nil {
		return nil, nil, err
	}
	var with []Lower
	for _, i := range found.Sources() {
		with = append(with, lowers[i])
	}
	return found, with, nil
}

// wantsOneName is settle.WantsOneName of a path that begins with a slash.
func wantsOneName(path string) bool { return settle.WantsOneName(strings.TrimPrefix(path, "/")) }
