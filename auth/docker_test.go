package auth

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func login(user, password string) string {
	return fmt.Sprintf(`{"auth": %q}`, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

func expect(t *testing.T, d *Docker, host, user, secret string) {
	t.Helper()
	l, err := d.Credentials(t.Context(), Challenge{Host: host})
	if err != nil || l != (Login{User: user, Secret: secret}) {
		t.Errorf("credentials of %s: %q %q %v, want %q %q", host, l.User, l.Secret, err, user, secret)
	}
}

func TestFile(t *testing.T) {
	for _, c := range []struct{ name, stored, host, user, secret string }{
		{"host", `"example.com": ` + login("u", "p"), "example.com", "u", "p"},
		{"port", `"example.com:5000": ` + login("u", "p"), "example.com:5000", "u", "p"},
		{"other port", `"example.com:5000": ` + login("u", "p"), "example.com", "", ""},
		{"password with colon", `"example.com": ` + login("u", "p:q"), "example.com", "u", "p:q"},
		{"url", `"https://example.com/v1/": ` + login("u", "p"), "example.com", "u", "p"},
		{"hub", `"https://index.docker.io/v1/": ` + login("u", "p"), "registry-1.docker.io", "u", "p"},
		{"hub by its name", `"https://index.docker.io/v1/": ` + login("u", "p"), "docker.io", "u", "p"},
		{"hub stored by its name", `"docker.io": ` + login("u", "p"), "registry-1.docker.io", "u", "p"},
		{"identity token", `"example.com": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("u:")) +
			`", "identitytoken": "refresh"}`, "example.com", "", "refresh"},
		{"none", ``, "example.com", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, `{"auths": {`+c.stored+`}}`)
			expect(t, NewDocker(dir), c.host, c.user, c.secret)
		})
	}
}

func TestNoFile(t *testing.T) {
	expect(t, NewDocker(filepath.Join(t.TempDir(), "absent")), "example.com", "", "")
}

func TestFileChanges(t *testing.T) {
	dir := t.TempDir()
	d := NewDocker(dir)
	expect(t, d, "example.com", "", "")
	write(t, dir, `{"auths": {"example.com": `+login("u", "1")+`}}`)
	expect(t, d, "example.com", "u", "1")
	write(t, dir, `{"auths": {"example.com": `+login("u", "2")+`}}`) // same size, perhaps same time
	expect(t, d, "example.com", "u", "2")
	if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	expect(t, d, "example.com", "", "")
}

func TestBadFile(t *testing.T) {
	dir := t.TempDir()
	d := NewDocker(dir)
	write(t, dir, `{"auths": {"example.com": `+login("u", "geheim")+`}}`)
	expect(t, d, "example.com", "u", "geheim")
	write(t, dir, `{"auths": {"example.com": {"auth": "geheim`)
	_, err := d.Credentials(t.Context(), Challenge{Host: "example.com"})
	if err == nil || !strings.Contains(err.Error(), "config.json") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("error of a truncated file: %v", err)
	}
	write(t, dir, `{}`)
	expect(t, d, "example.com", "", "")
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, `{"auths": {"a.example": `+login("file", "p")+`, "b.example": `+login("file", "p")+`}}`)
	t.Setenv("DOCKER_AUTH_CONFIG", `{"auths": {"a.example": `+login("env", "p")+`}}`)
	d := NewDocker(dir)
	expect(t, d, "a.example", "env", "p")
	expect(t, d, "b.example", "file", "p")
}

func TestDefaultDirectory(t *testing.T) {
	if NewDocker("").path == "config.json" {
		t.Error("the default directory is the working directory")
	}
}
