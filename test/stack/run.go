package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// outputTimeout is for the output of a command that has ended, which comes late on a
// busy machine, or never ends if what the command started lives on with it.
const outputTimeout = 10 * time.Second

// Container says what Run runs.
type Container struct {
	Snapshotter string
	Ref         string   // a pulled image
	Args        []string // the command; none runs the image's own
	Flags       []string // more flags of ctr containers create
	// Output receives the standard output of Run as it comes; may be nil.
	Output io.Writer
	// Mapping, CONTAINER:HOST:SIZE of users and groups, has RunDetached run it in a user
	// namespace, with a snapshot that is asked for with this mapping.
	Mapping string
}

// Run runs a command in a new container, removes the container, and returns the
// command's standard output.
//
// ctr makes the container, and a client runs the command: ctr run closes its end of the
// pipe when the command has ended, and loses what is in it (containerd 2.4.2, Delete of
// client/task.go calls Cancel of pkg/cio before Wait).
func (n *Node) Run(ctx context.Context, c Container) (output string, err error) {
	id := containerID()
	args := []string{"containers", "create", "--net-host", "--snapshotter", c.Snapshotter}
	args = append(args, c.Flags...)
	if _, err := n.Ctr(ctx, append(append(args, c.Ref, id), c.Args...)...); err != nil {
		return "", err
	}
	defer func() {
		_, rmErr := n.Ctr(context.WithoutCancel(ctx), "containers", "rm", id)
		err = errors.Join(err, rmErr)
	}()
	return n.command(ctx, id, c.Args, c.Output, func(ctx context.Context, container client.Container, io cio.Creator) (client.Process, error) {
		return container.NewTask(ctx, io)
	})
}

// Exec runs a command in a running container and returns its standard output.
func (n *Node) Exec(ctx context.Context, id string, args ...string) (string, error) {
	return n.command(ctx, id, args, nil, func(ctx context.Context, container client.Container, io cio.Creator) (client.Process, error) {
		task, err := container.Task(ctx, nil)
		if err != nil {
			return nil, err
		}
		spec, err := container.Spec(ctx)
		if err != nil {
			return nil, err
		}
		spec.Process.Args, spec.Process.Terminal = args, false
		return task.Exec(ctx, containerID(), spec.Process, io)
	})
}

// command runs the process that create makes in a container. args is the command, for
// the error; output also receives the standard output, unless it is nil.
func (n *Node) command(ctx context.Context, id string, args []string, output io.Writer,
	create func(context.Context, client.Container, cio.Creator) (client.Process, error),
) (string, error) {
	failed := func(err error) error { return fmt.Errorf("stack: container %s: %q: %w", id, args, err) }
	c, err := client.New(n.Address, client.WithTimeout(readyTimeout))
	if err != nil {
		return "", failed(err)
	}
	defer c.Close()
	ctx = namespaces.WithNamespace(ctx, namespace)
	container, err := c.LoadContainer(ctx, id)
	if err != nil {
		return "", failed(err)
	}
	var out, errOut bytes.Buffer
	to := io.Writer(&out)
	if output != nil {
		to = io.MultiWriter(&out, output)
	}
	p, err := create(ctx, container, cio.NewCreator(cio.WithStreams(nil, to, &errOut)))
	if err != nil {
		return "", failed(err)
	}
	code, err := finish(ctx, p)
	switch {
	case err != nil:
		return out.String(), failed(err)
	case code != 0:
		return out.String(), fmt.Errorf("stack: container %s: %q: exit status %d\n%s%s", id, args, code, tail(out.String()), errOut.String())
	}
	return out.String(), nil
}

// finish starts a process, waits until it has ended and its output was read, and deletes
// it. When ctx ends the process is killed.
func finish(ctx context.Context, p client.Process) (code uint32, err error) {
	ending := context.WithoutCancel(ctx)
	defer func() {
		_, deleteErr := p.Delete(ending, client.WithProcessKill)
		err = errors.Join(err, deleteErr)
	}()
	ended, err := p.Wait(ending)
	if err != nil {
		return 0, err
	}
	if err := p.Start(ctx); err != nil {
		return 0, err
	}
	var status client.ExitStatus
	select {
	case status = <-ended:
	case <-ctx.Done():
		if err := p.Kill(ending, syscall.SIGKILL); err != nil {
			return 0, errors.Join(ctx.Err(), err)
		}
		status = <-ended
	}
	read := make(chan struct{})
	go func() { p.IO().Wait(); close(read) }()
	select {
	case <-read:
	case <-time.After(outputTimeout):
	}
	code, _, err = status.Result()
	return code, errors.Join(err, ctx.Err())
}
