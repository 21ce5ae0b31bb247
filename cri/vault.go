package cri

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/durable"
)

const (
	loginMagic = "ladle cri login "

	// loginHead is the first line of a sealed login of this version.
	loginHead = loginMagic + "1\n"

	// maxSealed bounds a file of a sealed login, in bytes: JSON needs at most six bytes for one.
	maxSealed = 6*maxLogin + 16<<10
)

// vault is the directory of sealed logins.
type vault struct {
	dir  string
	aead cipher.AEAD // with a nonce of its own
}

// record is a login as it is sealed.
type record struct {
	Host       string    `json:"host"`
	Repository string    `json:"repository"`
	User       string    `json:"user,omitempty"`
	Secret     string    `json:"secret,omitempty"`
	Token      string    `json:"token,omitempty"`
	Pulled     time.Time `json:"pulled"` // when the pull succeeded that brought it
}

func (r record) place() place { return place{r.Host, r.Repository} }

func (r record) login() auth.Login {
	return auth.Login{User: r.User, Secret: r.Secret, Token: r.Token}
}

// openVault opens the vault in dir, and makes it if it is not there. ctx is for the log.
func openVault(ctx context.Context, dir string) (*vault, error) {
	v := &vault{dir: dir}
	if err := os.MkdirAll(v.logins(), 0o700); err != nil {
		return nil, err
	}
	for _, d := range []string{dir, v.logins()} {
		if err := os.Chmod(d, 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	v.aead, err = openKey(ctx, filepath.Join(dir, "key"))
	return v, err
}

func (v *vault) logins() string { return filepath.Join(v.dir, "logins") }

// name returns the name of a place's file.
func (at place) name() string {
	sum := sha256.Sum256([]byte(at.host + "\x00" + at.repository))
	return hex.EncodeToString(sum[:])
}

func (v *vault) path(name string) string { return filepath.Join(v.logins(), name) }

// write seals the login of a place.
func (v *vault) write(at place, l auth.Login, pulled time.Time) error {
	text, err := json.Marshal(record{at.host, at.repository, l.User, l.Secret, l.Token, pulled.UTC()})
	if err != nil {
		return err
	}
	name := at.name()
	return durable.Write(v.path(name), v.aead.Seal([]byte(loginHead), nil, text, []byte(loginHead+name)))
}

// remove removes the login of a place, if there is one.
func (v *vault) remove(at place) error {
	err := os.Remove(v.path(at.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// errSealed is the error of a file that is not a login sealed with the key, or no key.
var errSealed = errors.New("not as this version has written it")

// read opens the file of that name.
func (v *vault) read(name string) (r record, err error) {
	b, err := readBounded(v.path(name), maxSealed)
	if err != nil {
		return r, err
	}
	sealed, ok := strings.CutPrefix(string(b), loginHead)
	if !ok {
		return r, otherFormat(b, loginMagic)
	}
	text, err := v.aead.Open(nil, nil, []byte(sealed), []byte(loginHead+name))
	if err != nil || json.Unmarshal(text, &r) != nil || r.place().name() != name || r.login() == (auth.Login{}) {
		return record{}, errSealed
	}
	return r, nil
}

// otherFormat returns durable.ErrLaterFormat if b begins with magic and a higher version
// than 1, else errSealed.
func otherFormat(b []byte, magic string) error {
	var version uint64
	if rest, ok := strings.CutPrefix(string(b), magic); ok {
		if n, _ := fmt.Sscanf(rest, "%d\n", &version); n == 1 && version > 1 {
			return durable.LaterFormat(version, 1)
		}
	}
	return errSealed
}

// readAll returns all logins, that of the latest pull last. It removes what cannot be opened. ctx
// is for the log.
func (v *vault) readAll(ctx context.Context) ([]record, error) {
	entries, err := os.ReadDir(v.logins())
	if err != nil {
		return nil, err
	}
	var all []record
	var lost, later int
	for _, e := range entries {
		r, err := v.read(e.Name())
		switch {
		case err == nil:
			all = append(all, r)
		case errors.Is(err, durable.ErrLaterFormat):
			later++
		case strings.HasSuffix(e.Name(), durable.Suffix): // an interrupted process left it
			err = os.Remove(v.path(e.Name()))
		case errors.Is(err, errSealed):
			lost++
			log.G(ctx).WithError(err).WithField("file", v.path(e.Name())).Debug("a sealed login is not opened")
			err = os.RemoveAll(v.path(e.Name()))
		}
		if err != nil && !errors.Is(err, durable.ErrLaterFormat) {
			log.G(ctx).WithError(err).WithField("file", v.path(e.Name())).Warn("a sealed login cannot be read, or cannot be removed")
		}
	}
	if lost > 0 {
		log.G(ctx).WithField("dir", v.logins()).WithField("logins", lost).
			Warn("sealed logins of CRI's pulls are damaged or sealed with another key, and are removed. The next pull of each image brings its login again")
	}
	if later > 0 {
		log.G(ctx).WithField("dir", v.logins()).WithField("logins", later).
			Warn("sealed logins of CRI's pulls are of a later version of ladle, and are not used")
	}
	slices.SortFunc(all, func(a, b record) int { return a.Pulled.Compare(b.Pulled) })
	return all, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, errSealed
	}
	return os.ReadFile(path)
}
