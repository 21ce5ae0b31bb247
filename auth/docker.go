package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
)

// Docker finds credentials where the docker command keeps them. It may be used
// concurrently.
type Docker struct {
	path     string // of config.json
	programs *programs

	// INVARIANT: parsed is the configuration in raw. Lock order: before programs.mu.
	mu struct {
		sync.Mutex
		raw    []byte
		parsed *configfile.ConfigFile
	}
}

// NewDocker returns the credentials of the configuration directory dir. If it
// is empty, the directory is $DOCKER_CONFIG, or else ~/.docker.
func NewDocker(dir string) *Docker {
	if dir == "" {
		dir = config.Dir()
	}
	return &Docker{path: filepath.Join(dir, config.ConfigFileName), programs: newPrograms(time.Now)}
}

// hubKey is the name under which the docker command stores the credentials
// for Docker Hub.
const hubKey = "https://index.docker.io/v1/"

// keys returns the names under which the credentials for host may be stored,
// the usual one first.
func keys(host string) []string {
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return []string{hubKey, "docker.io", "index.docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}

// Name implements Source.
func (d *Docker) Name() string { return "docker" }

// Credentials returns the credentials for the host of c, whatever the repository is.
//
// DOCKER_AUTH_CONFIG in the environment comes first, then the host's
// credential helper, then the configuration file, which is read each time. A
// file that is there and cannot be understood, or a helper that fails, is an
// error. Helpers have a time limit of their own.
func (d *Docker) Credentials(ctx context.Context, c Challenge) (Login, error) {
	found, err := d.find(ctx, c.Host)
	switch {
	case err != nil:
		return Login{}, err
	case found.IdentityToken != "":
		return Login{Secret: found.IdentityToken}, nil
	}
	return Login{User: found.Username, Secret: found.Password}, nil
}

func (d *Docker) find(ctx context.Context, host string) (types.AuthConfig, error) {
	file, err := d.load()
	if err != nil {
		return types.AuthConfig{}, err
	}
	if os.Getenv(configfile.DockerEnvConfigKey) != "" {
		if c, err := stored(&configfile.ConfigFile{}, host); err != nil || known(c) {
			return c, err
		}
	}
	if name, key := programFor(file, host); name != "" {
		if c, err := d.programs.get(ctx, name, key); err != nil || known(c) {
			return c, err
		}
	}
	return stored(&configfile.ConfigFile{AuthConfigs: file.AuthConfigs}, host)
}

// stored looks in a file without helpers, and in the environment.
func stored(file *configfile.ConfigFile, host string) (types.AuthConfig, error) {
	for _, key := range keys(host) {
		if c := file.AuthConfigs[key]; known(c) { // GetAuthConfig looks for Docker Hub under hubKey only
			return c, nil
		}
		c, err := file.GetAuthConfig(key)
		if err != nil || known(c) {
			return c, err
		}
	}
	return types.AuthConfig{}, nil
}

// programFor returns the helper that file names for host, and the key to ask it
// for.
func programFor(file *configfile.ConfigFile, host string) (name, key string) {
	names := keys(host)
	for _, k := range names {
		if name := file.CredentialHelpers[k]; name != "" {
			return name, names[0]
		}
	}
	return file.CredentialsStore, names[0]
}

func known(c types.AuthConfig) bool {
	return c.IdentityToken != "" || c.Username != "" || c.Password != ""
}

// load reads the file, and parses it if it has changed. No file is an empty
// file. The result is shared and not to be changed.
func (d *Docker) load() (*configfile.ConfigFile, error) {
	raw, err := os.ReadFile(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.parsed != nil && bytes.Equal(raw, d.mu.raw) {
		return d.mu.parsed, nil
	}
	parsed, err := config.LoadFromReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	if d.mu.parsed != nil {
		d.programs.forget() // a new login often comes with a new file
	}
	d.mu.raw, d.mu.parsed = raw, parsed
	return parsed, nil
}
