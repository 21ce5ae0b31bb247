package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// Build is one build of a Dockerfile, or of a graph.
type Build struct {
	Dir  string            // of the Dockerfile and its context
	Args map[string]string // build arguments
	// Graph is what to build instead of a Dockerfile: an LLB definition, in
	// which the local source "context" is Dir.
	Graph []byte
	// Output is what becomes of the result, as in buildctl's --output, such
	// as type=image,name=REF,push=true. "" for nothing.
	Output string
	Flags  []string // further flags of buildctl build
}

// Build builds. It returns the digest of the image, if there is one.
func (w *Worker) Build(ctx context.Context, b Build) (digest string, err error) {
	digest, _, err = w.build(ctx, b, "plain")
	return digest, err
}

// Steps builds, and returns the steps that were not in the cache, in the order
// of their begin.
func (w *Worker) Steps(ctx context.Context, b Build) ([]Step, error) {
	_, progress, err := w.build(ctx, b, "rawjson")
	if err != nil {
		return nil, err
	}
	return steps(progress)
}

func (w *Worker) build(ctx context.Context, b Build, format string) (digest, progress string, err error) {
	metadata, err := os.CreateTemp(w.Dir, "metadata-")
	if err != nil {
		return "", "", fmt.Errorf("worker: %w", err)
	}
	defer os.Remove(metadata.Name())
	defer metadata.Close()
	args := []string{"build", "--progress=" + format, "--metadata-file", metadata.Name(), "--local", "context=" + b.Dir}
	if b.Graph == nil {
		args = append(args, "--frontend=dockerfile.v0", "--local", "dockerfile="+b.Dir)
	}
	for key, value := range b.Args {
		args = append(args, "--opt", "build-arg:"+key+"="+value)
	}
	if b.Output != "" {
		args = append(args, "--output", b.Output)
	}
	_, progress, err = w.buildctl(ctx, bytes.NewReader(b.Graph), append(args, b.Flags...))
	if err != nil {
		return "", "", err
	}
	var result struct {
		Digest string `json:"containerimage.digest"`
	}
	data, err := os.ReadFile(metadata.Name())
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &result)
	}
	if err != nil {
		return "", "", fmt.Errorf("worker: what buildctl says of the build: %w", err)
	}
	return result.Digest, progress, nil
}

// Buildctl runs the client and returns its standard output. The error holds
// the end of what it wrote to standard error.
func (w *Worker) Buildctl(ctx context.Context, args ...string) (string, error) {
	out, _, err := w.buildctl(ctx, nil, args)
	return out, err
}

// buildctl runs the client with standard input; said is its standard error.
func (w *Worker) buildctl(ctx context.Context, in io.Reader, args []string) (out, said string, err error) {
	program, err := place.Component("buildctl")
	if err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"--addr", w.address}, args...)...)
	var output, progress bytes.Buffer
	cmd.Stdin = in
	cmd.Stdout, cmd.Stderr, cmd.Env = &output, &progress, process.Environment()
	// No credentials of the user who runs the tests.
	cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+filepath.Join(w.Dir, "docker"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	err = cmd.Run()
	said = progress.String()
	if err != nil {
		err = fmt.Errorf("worker: buildctl %s: %w\n%s", strings.Join(args, " "), err, said[max(0, len(said)-4000):])
	}
	return output.String(), said, err
}

// Prune removes everything that no build uses.
func (w *Worker) Prune(ctx context.Context) error {
	_, err := w.Buildctl(ctx, "prune", "--all")
	return err
}

// Records is how many entries the build cache has.
func (w *Worker) Records(ctx context.Context) (int, error) {
	out, err := w.Buildctl(ctx, "du", "--format", "{{json .}}")
	if err != nil {
		return 0, err
	}
	var records []json.RawMessage
	if err := json.Unmarshal([]byte(out), &records); err != nil {
		return 0, fmt.Errorf("worker: disk usage: %w", err)
	}
	return len(records), nil
}
