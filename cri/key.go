package cri

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/durable"
)

const (
	keyMagic = "ladle cri key "
	keyHead  = keyMagic + "1\n"
	keySize  = 32 // bytes: AES-256
)

// openKey returns the key in the file at path. It makes a new key if there is none, or none that
// may be used, and logs why.
func openKey(ctx context.Context, path string) (cipher.AEAD, error) {
	key, err := readKey(path)
	if errors.Is(err, errSealed) {
		log.G(ctx).WithError(err).WithField("file", path).Warn("the key of the sealed logins of CRI's pulls cannot be used, and is replaced")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, err) // it may be readable later, or for a later version
	}
	if err != nil {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		if err := durable.Write(path, append([]byte(keyHead), key...)); err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// readKey returns the key in the file at path, which must be readable for nobody but its owner:
// root, or the user of this process. The error of a file that is no such key wraps errSealed.
func readKey(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if info.Mode().Perm()&0o077 != 0 || owner != 0 && int64(owner) != int64(os.Geteuid()) {
		return nil, fmt.Errorf("%w: its mode is %v and its owner %d, so others may have read it", errSealed, info.Mode(), owner)
	}
	b, err := readBounded(path, 4096)
	if err != nil {
		return nil, err
	}
	key, ok := strings.CutPrefix(string(b), keyHead)
	if !ok {
		return nil, otherFormat(b, keyMagic)
	}
	if len(key) != keySize {
		return nil, errSealed
	}
	return []byte(key), nil
}
