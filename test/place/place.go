// Package place says where things are on disk: the repository, the cache of
// built components and images, and the programs in them.
package place

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Root is the repository's root directory: the nearest directory at or above
// the working directory that holds script/components.sh.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "script", "components.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("place: not inside the repository")
		}
		dir = parent
	}
}

// Cache is the directory for everything that is built once and kept:
// $LADLE_CACHE, or .cache in the repository.
func Cache() (string, error) {
	if dir := os.Getenv("LADLE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache"), nil
}

// Component is the path of a program that script/components.sh installs.
func Component(name string) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	return program(filepath.Join(cache, "bin", name), "script/components.sh")
}

// Release is the path of a program of a release of containerd other than the one
// that Component has: "2.3", the long-term release.
func Release(release, name string) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	return program(filepath.Join(cache, "containerd-"+release, name), "script/components.sh")
}

// Ladle is the path of the daemon under test: $LADLE_BIN, or bin/ladle.
func Ladle() (string, error) {
	if path := os.Getenv("LADLE_BIN"); path != "" {
		return program(path, "make build")
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return program(filepath.Join(root, "bin", "ladle"), "make build")
}

func program(path, maker string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("place: %w (run %s first)", err, maker)
	}
	return path, nil
}
