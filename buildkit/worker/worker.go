package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// Options say what a worker is.
type Options struct {
	Dir        string   // for state, socket and log; made, and left to the caller
	Registries []string // host:port of registries that speak plain HTTP
	Config     string   // added to buildkitd.toml
	// Snapshotter is the name of the snapshotter. Without Containerd and
	// Proxy it is one that is built into BuildKit.
	Snapshotter string
	Proxy       string // socket of the snapshotter; "" for none; OCI worker only
	Containerd  string // containerd's socket: a containerd worker; "": an OCI worker
	Ladle       bool   // it is ladle-buildkitd, not BuildKit's own daemon
	// Command is what runs the daemon, up to its flags; nil for the program
	// itself.
	Command []string
}

// Worker is a running buildkitd.
type Worker struct {
	Options
	address string
	process.Process
}

// Start starts a worker. The caller closes it.
func Start(ctx context.Context, o Options) (*Worker, error) {
	w := &Worker{Options: o, address: "unix://" + filepath.Join(o.Dir, "buildkitd.sock")}
	if err := os.MkdirAll(w.tempDir(), 0o711); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	if err := w.writeConfig(); err != nil {
		return nil, err
	}
	return w, w.Start(ctx)
}

// Start starts the worker again, after Close or Kill.
func (w *Worker) Start(ctx context.Context) error {
	command := w.Command
	if command == nil {
		program, err := w.program()
		if err != nil {
			return err
		}
		command = []string{program}
	}
	// It mounts below its directory for temporary files, too.
	env := []string{"TMPDIR=" + w.tempDir()}
	err := w.Process.Start(process.Options{
		Name: "buildkitd", Log: w.logFile(), Env: env, Argv: slices.Concat(command, w.args()),
	})
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if err := w.Ready(ctx, readyTimeout, w.answers); err != nil {
		return errors.Join(err, w.Close())
	}
	return nil
}

// readyTimeout is for a daemon that mounts and probes before it answers.
const readyTimeout = 60 * time.Second

// Close stops buildkitd and waits until it is gone.
func (w *Worker) Close() error { return w.Stop() }

// Address is where it listens, as clients take it.
func (w *Worker) Address() string { return w.address }

// program is the path of the daemon.
func (w *Worker) program() (string, error) {
	if !w.Ladle {
		return place.Component("buildkitd")
	}
	root, err := place.Root()
	return filepath.Join(root, "bin", "ladle-buildkitd"), err
}

func (w *Worker) answers(ctx context.Context) error {
	_, err := w.Buildctl(ctx, "debug", "workers")
	return err
}

// args are buildkitd's flags, as docs/buildkit.md has them, and what a test
// needs besides: state and sockets of its own, the host's network, and nothing
// collected unless the test asks for it. The socket for traces is
// /run/buildkit/otel-grpc.sock by default: a buildkitd removes that of another one, and
// ends with "address already in use" if both start at the same moment.
func (w *Worker) args() []string {
	args := []string{"--root", filepath.Join(w.Dir, "root"), "--addr", w.address, "--config", w.configFile(),
		"--otel-socket-path", filepath.Join(w.Dir, "otel.sock")}
	if w.Containerd != "" {
		// The namespace keeps blobs of workers on one containerd apart.
		return append(args, "--oci-worker=false", "--containerd-worker=true", "--containerd-worker-addr="+w.Containerd,
			"--containerd-worker-namespace="+w.Namespace(),
			"--containerd-worker-snapshotter="+w.Snapshotter, "--containerd-worker-net=host", "--containerd-worker-gc=false")
	}
	args = append(args, "--containerd-worker=false", "--oci-worker=true",
		"--oci-worker-snapshotter="+w.Snapshotter, "--oci-worker-net=host", "--oci-worker-gc=false")
	if w.Proxy != "" {
		args = append(args, "--oci-worker-proxy-snapshotter-path="+w.Proxy)
	}
	return args
}

// Namespace is that of a containerd worker in containerd.
func (w *Worker) Namespace() string {
	if w.Ladle {
		return "buildkit-ladle"
	}
	return "buildkit"
}

func (w *Worker) writeConfig() error {
	text := "debug = true\n" + w.Config
	for _, r := range w.Registries {
		text += fmt.Sprintf("[registry.%q]\nhttp = true\n", r)
	}
	if err := os.WriteFile(w.configFile(), []byte(text), 0o644); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}

func (w *Worker) configFile() string { return filepath.Join(w.Dir, "buildkitd.toml") }
func (w *Worker) tempDir() string    { return filepath.Join(w.Dir, "tmp") }
func (w *Worker) logFile() string    { return filepath.Join(w.Dir, "buildkitd.log") }
