package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// Registry is a running registry with a store of its own.
type Registry struct {
	Addr string // host:port, plain HTTP
	dir  string // of configuration and log
	process.Process
}

const registryConfig = `version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: %s
  cache:
    blobdescriptor: inmemory
http:
  addr: 127.0.0.1:0
`

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// StartRegistry starts a registry. The caller closes it.
func StartRegistry(ctx context.Context) (*Registry, error) { return startRegistry(ctx, "", "") }

// Guarded starts another registry on the store of r, which wants to know who
// is asking: auth is the section of that name of its configuration, indented by
// two spaces. The caller closes it before r.
func (r *Registry) Guarded(ctx context.Context, auth string) (*Registry, error) {
	return startRegistry(ctx, filepath.Join(r.dir, "store"), "auth:\n"+auth)
}

// startRegistry starts a registry, on a store of its own if store is "".
func startRegistry(ctx context.Context, store, auth string) (_ *Registry, err error) {
	program, err := place.Component("registry")
	if err != nil {
		return nil, err
	}
	dir, err := newDir()
	if err != nil {
		return nil, err
	}
	r := &Registry{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	config := filepath.Join(dir, "registry.yml")
	if store == "" {
		store = filepath.Join(dir, "store")
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, registryConfig+auth, store), 0o644); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	if err = start(&r.Process, "registry", dir, []string{program, "serve", config}); err != nil {
		return nil, err
	}
	err = r.Ready(ctx, readyTimeout, func(context.Context) error {
		log, err := os.ReadFile(logFile("registry", dir))
		if err != nil {
			return err
		}
		found := listening.FindSubmatch(log)
		if found == nil {
			return errors.New("it has no address yet")
		}
		r.Addr = string(found[1])
		return nil
	})
	return r, err
}

// Push puts an image in the registry under its Tag, and returns that.
func (r *Registry) Push(ctx context.Context, img *image.Image) (repositoryAndTag string, err error) {
	return img.Tag(), img.Push(ctx, r.Addr+"/"+img.Tag())
}

// Close stops the registry and removes its store.
func (r *Registry) Close() error {
	return cleanup(r.Stop(), os.RemoveAll(r.dir))
}

// newDir makes a directory for the state of one component: on a disk, because
// EROFS images cannot be mounted from a tmpfs, and with a short name, because
// the address of a unix socket has at most 107 bytes.
func newDir() (string, error) {
	dir, err := os.MkdirTemp("/var/tmp", "ladle-")
	if err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	return dir, os.Chmod(dir, 0o711)
}
