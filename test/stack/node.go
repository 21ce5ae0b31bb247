package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/ladle-dev/ladle/test/process"
)

// sandboxImage is the repository and tag of the image of CRI's pods.
const sandboxImage = "pause:gzip"

// NodeOptions say what a node runs.
type NodeOptions struct {
	Registry string   // host:port of the registry, plain HTTP; required
	Daemons  []Daemon // none: containerd alone, with overlayfs
	// CRISnapshotter is the snapshotter of images pulled through CRI;
	// "" is overlayfs.
	CRISnapshotter string
	Containerd     Containerd
}

// Node is a running containerd with its snapshotter daemons.
type Node struct {
	Dir      string // everything below it is removed by Close
	Address  string // containerd's socket
	Hosts    string // directory of hosts.toml files that know the registry
	Registry string
	Daemons  []*RunningDaemon

	criSnapshotter string
	options        Containerd
	containerd     process.Process
}

// StartNode starts the daemons and then containerd. The caller closes the node.
func StartNode(ctx context.Context, o NodeOptions) (_ *Node, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("stack: containerd and mounts need root")
	}
	dir, err := newDir()
	if err != nil {
		return nil, err
	}
	n := &Node{Dir: dir, Address: filepath.Join(dir, "containerd.sock"), Hosts: filepath.Join(dir, "hosts"),
		Registry: o.Registry, criSnapshotter: o.CRISnapshotter, options: o.Containerd}
	if n.criSnapshotter == "" {
		n.criSnapshotter = "overlayfs"
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	for _, d := range o.Daemons {
		n.Daemons = append(n.Daemons, newRunningDaemon(d, dir))
	}
	if err := n.writeConfigs(); err != nil {
		return nil, err
	}
	if err := n.eachDaemon(func(d *RunningDaemon) error { return d.Start(ctx) }); err != nil {
		return nil, err
	}
	return n, n.StartContainerd(ctx)
}

// eachDaemon calls do for all daemons at once.
func (n *Node) eachDaemon(do func(*RunningDaemon) error) error {
	errs := make([]error, len(n.Daemons))
	var doing sync.WaitGroup
	for i, d := range n.Daemons {
		doing.Go(func() { errs[i] = do(d) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

// StartContainerd starts containerd, again after StopContainerd.
func (n *Node) StartContainerd(ctx context.Context) error {
	program, err := n.options.program("containerd")
	if err != nil {
		return err
	}
	err = start(&n.containerd, "containerd", n.Dir, []string{program, "--config", n.configFile()}, n.options.environment(program)...)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix://"+n.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	defer conn.Close()
	return n.containerd.Ready(ctx, readyTimeout, func(ctx context.Context) error {
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		return err
	})
}

// Reconfigure restarts containerd with what edit makes of its configuration file.
func (n *Node) Reconfigure(ctx context.Context, edit func(config string) string) error {
	if err := n.StopContainerd(); err != nil {
		return err
	}
	if err := os.WriteFile(n.configFile(), []byte(edit(n.containerdConfig())), 0o644); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	return n.StartContainerd(ctx)
}

// ContainerdPID is the process id of containerd.
func (n *Node) ContainerdPID() int { return n.containerd.PID() }

// StopContainerd stops containerd; containers keep running.
func (n *Node) StopContainerd() error { return n.containerd.Stop() }

// Daemon is the daemon with that plugin name; nil if there is none.
func (n *Node) Daemon(name string) *RunningDaemon {
	for _, d := range n.Daemons {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Logs is the end of the output of every process of the node.
func (n *Node) Logs() string {
	logs := process.LogTail("containerd", logFile("containerd", n.Dir))
	for _, d := range n.Daemons {
		logs += "\n" + process.LogTail(d.Name, d.LogFile)
	}
	return logs
}

// Close removes the containers, stops containerd and the daemons, and removes
// the directory. The error is a *CleanupError.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout) // ends what a cancelled context began
	defer cancel()
	var errs []error
	if n.containerd.Running() {
		errs = append(errs, n.removeContainers(ctx), n.containerd.Stop())
	}
	errs = append(errs, n.eachDaemon(func(d *RunningDaemon) error { return d.Stop() }))
	left, err := unmountBelow(n.Dir)
	errs = append(errs, err)
	if len(left) > 0 {
		errs = append(errs, fmt.Errorf("stack: left mounted: %q\n%s", left, n.Logs()))
	}
	if err == nil {
		errs = append(errs, os.RemoveAll(n.Dir))
	}
	return cleanup(errs...)
}

// CleanupError says what Close could not leave as it should be.
type CleanupError struct{ Err error }

func (e *CleanupError) Error() string { return e.Err.Error() }
func (e *CleanupError) Unwrap() error { return e.Err }

// cleanup is nil if all of errs are.
func cleanup(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return &CleanupError{err}
	}
	return nil
}
