package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/ladle-dev/ladle/test/process"
)

// namespace is containerd's namespace of everything that is not CRI's.
const namespace = "default"

// Ctr runs the stock client and returns its standard output. The error holds
// what it wrote to standard error.
func (n *Node) Ctr(ctx context.Context, args ...string) (string, error) {
	return n.ctr(ctx, namespace, args...)
}

func (n *Node) ctr(ctx context.Context, space string, args ...string) (string, error) {
	program, err := n.options.program("ctr")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"--address", n.Address, "--namespace", space}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errOut, process.Environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("stack: ctr %s: %w\n%s%s", strings.Join(args, " "), err, tail(out.String()), errOut.String())
	}
	return out.String(), nil
}

// tail is the end of what a command printed, for an error.
func tail(s string) string { return s[max(0, len(s)-2000):] }

// Pull pulls with the stock client through containerd's transfer service.
func (n *Node) Pull(ctx context.Context, snapshotter, ref string) error {
	_, err := n.Ctr(ctx, "images", "pull", "--snapshotter", snapshotter, "--hosts-dir", n.Hosts, "--plain-http", ref)
	return err
}

// RunDetached starts a container that keeps running and returns its id, for Exec.
func (n *Node) RunDetached(ctx context.Context, c Container) (id string, err error) {
	id = containerID()
	args := []string{"run", "--detach", "--snapshotter", c.Snapshotter}
	if c.Mapping != "" { // with the host's network /sys cannot be mounted
		args = append(args, "--remap-labels", "--uidmap", c.Mapping, "--gidmap", c.Mapping)
	} else {
		args = append(args, "--net-host")
	}
	args = append(args, c.Flags...)
	args = append(args, c.Ref, id)
	_, err = n.Ctr(ctx, append(args, c.Args...)...)
	return id, err
}

// Remove kills a container and deletes it with its snapshot.
func (n *Node) Remove(ctx context.Context, id string) error {
	return n.remove(ctx, namespace, id)
}

func (n *Node) remove(ctx context.Context, space, id string) error {
	_, err := n.ctr(ctx, space, "task", "rm", "--force", id)
	if err != nil && strings.Contains(err.Error(), "not found") {
		err = nil // it has no task
	}
	_, rmErr := n.ctr(ctx, space, "container", "rm", id)
	return errors.Join(err, rmErr)
}

// removeContainers removes the containers of every namespace.
func (n *Node) removeContainers(ctx context.Context) error {
	spaces, err := n.ctr(ctx, namespace, "namespace", "ls", "-q")
	if err != nil {
		return err
	}
	var errs []error
	for _, space := range strings.Fields(spaces) {
		ids, err := n.ctr(ctx, space, "container", "ls", "-q")
		errs = append(errs, err)
		for _, id := range strings.Fields(ids) {
			errs = append(errs, n.remove(ctx, space, id))
		}
	}
	return errors.Join(errs...)
}

func containerID() string { return "ladle-" + strings.ToLower(rand.Text()[:10]) }
