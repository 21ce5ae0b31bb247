package cri

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/internal/logtest"
)

// wantNoSecret fails if the password is in a file below dir or in the log, also as base64.
func wantNoSecret(t *testing.T, dir string, said *logtest.Buffer) {
	t.Helper()
	secrets := []string{password}
	for n := range 3 { // wherever it begins in what was encoded
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat(" ", n) + password))
		secrets = append(secrets, text[4:len(text)-3])
	}
	has := func(where string, b []byte) {
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s has the secret", where)
			}
		}
	}
	has("the log", []byte(said.String()))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		has("the name "+path, []byte(path))
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 && path != dir {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		has(path, b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// sealed is a directory with one sealed login of the user u.
func sealed(t *testing.T) (dir, file string, here auth.Challenge) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "cri")
	c := OpenCredentials(t.Context(), dir)
	c.pulled(t.Context(), "r.example/a", "u", nil)
	here = basicOf("r.example", "r.example/a")
	file = filepath.Join(dir, "logins", placeOf(here).name())
	OpenCredentials(t.Context(), dir).wants(t, here, "u")
	return dir, file, here
}

// A damaged file or a lost key cost the logins, are in the log, and nothing else.
func TestDamageCostsLogins(t *testing.T) {
	edit := func(change func(b []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { b[(n+len(b))%len(b)] ^= 1; return b }
	}
	remove := func(t *testing.T, path string) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		key    bool // else the login
		damage func(t *testing.T, path string)
		said   string
	}{
		"first bit":        {false, edit(flip(0)), "sealed with another key"},
		"nonce":            {false, edit(flip(len(loginHead))), "sealed with another key"},
		"last bit":         {false, edit(flip(-1)), "sealed with another key"},
		"cut":              {false, edit(func(b []byte) []byte { return b[:len(b)-1] }), "sealed with another key"},
		"head alone":       {false, edit(func(b []byte) []byte { return b[:len(loginHead)] }), "sealed with another key"},
		"empty":            {false, edit(func([]byte) []byte { return nil }), "sealed with another key"},
		"too long":         {false, edit(func(b []byte) []byte { return append(b, make([]byte, maxSealed)...) }), "sealed with another key"},
		"version 0":        {false, edit(func(b []byte) []byte { return bytes.Replace(b, []byte(" 1\n"), []byte(" 0\n"), 1) }), "sealed with another key"},
		"directory":        {false, func(t *testing.T, path string) { remove(t, path); _ = os.Mkdir(path, 0o700) }, "sealed with another key"},
		"key lost":         {true, remove, "sealed with another key"},
		"key flipped":      {true, edit(flip(-1)), "sealed with another key"},
		"key cut":          {true, edit(func(b []byte) []byte { return b[:len(b)-1] }), "cannot be used, and is replaced"},
		"key empty":        {true, edit(func([]byte) []byte { return nil }), "cannot be used, and is replaced"},
		"key can be read":  {true, func(_ *testing.T, path string) { _ = os.Chmod(path, 0o640) }, "others may have read it"},
		"key is another's": {true, func(_ *testing.T, path string) { _ = os.Chown(path, 4711, 0) }, "others may have read it"},
		"moved to a place": {false, func(t *testing.T, path string) {
			_ = os.Rename(path, filepath.Join(filepath.Dir(path), place{"evil.example", "evil.example/a"}.name()))
		}, "sealed with another key"},
		"key is a directory": {true, func(t *testing.T, path string) { remove(t, path); _ = os.Mkdir(path, 0o700) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, said := withLog(t)
			dir, file, here := sealed(t)
			if test.key {
				test.damage(t, filepath.Join(dir, "key"))
			} else {
				test.damage(t, file)
			}
			c := OpenCredentials(ctx, dir)
			c.wants(t, here)
			c.wants(t, basicOf("evil.example", "evil.example/a"))
			if !strings.Contains(said.String(), test.said) || !strings.Contains(said.String(), "level=warning") {
				t.Errorf("the log says %s", said)
			}
			if strings.Count(said.String(), "level=warning") > 2 {
				t.Errorf("the log says it too often: %s", said)
			}
			c.pulled(ctx, "r.example/a", "again", nil)
			c.wants(t, here, "again")
			if test.said != "" {
				OpenCredentials(ctx, dir).wants(t, here, "again")
			}
			wantNoSecret(t, dir, said)
		})
	}
}

// What a later version wrote is left as it is.
func TestLaterVersionsStay(t *testing.T) {
	for _, of := range []string{"key", "login"} {
		ctx, said := withLog(t)
		dir, file, here := sealed(t)
		if of == "key" {
			file = filepath.Join(dir, "key")
		}
		text := []byte("ladle cri " + of + " 2\nnobody knows")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c := OpenCredentials(ctx, dir)
		c.wants(t, here)
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, text) {
			t.Errorf("%s is %q, %v", of, b, err)
		}
		if !strings.Contains(said.String(), "later version") {
			t.Errorf("the log says %s", said)
		}
		c.pulled(ctx, "r.example/a", "again", nil)
		c.wants(t, here, "again")
	}
}

// What an interrupted write left is removed without a word.
func TestLeftoversAreRemoved(t *testing.T) {
	ctx, said := withLog(t)
	dir, file, here := sealed(t)
	if err := os.WriteFile(file+".new", []byte(loginHead), 0o600); err != nil {
		t.Fatal(err)
	}
	OpenCredentials(ctx, dir).wants(t, here, "u")
	if _, err := os.Lstat(file + ".new"); err == nil || said.String() != "" {
		t.Errorf("%v; the log says %s", err, said)
	}
}

// On a disk that cannot be written to, logins are in memory.
func TestWithoutADisk(t *testing.T) {
	ctx, said := withLog(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := OpenCredentials(ctx, filepath.Join(file, "cri"))
	if !strings.Contains(said.String(), "kept in memory only") {
		t.Errorf("the log says %s", said)
	}
	c.pulled(ctx, "r.example/a", "u", nil)
	c.wants(t, basicOf("r.example", "r.example/a"), "u")

	dir, _, here := sealed(t)
	c = OpenCredentials(ctx, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.pulled(ctx, "r.example/a", "again", nil)
	c.wants(t, here, "again")
	if !strings.Contains(said.String(), "a restart may lose it") {
		t.Errorf("the log says %s", said)
	}
}
