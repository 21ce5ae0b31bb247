package cri

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/internal/memtest"
)

func TestLoginsOfRequests(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("u:p:q"))
	for name, test := range map[string]struct {
		image string
		loginFields
		host, repository string
		login            auth.Login
	}{
		"password":             {"r.example:5000/a/b:1", loginFields{username: "u", password: "p"}, "r.example:5000", "r.example:5000/a/b", auth.Login{User: "u", Secret: "p"}},
		"by digest":            {"r.example/a@sha256:" + strings.Repeat("0", 64), loginFields{username: "u"}, "r.example", "r.example/a", auth.Login{User: "u"}},
		"hub":                  {"busybox", loginFields{username: "u", password: "p"}, "docker.io", "docker.io/library/busybox", auth.Login{User: "u", Secret: "p"}},
		"hub by its address":   {"a/b", loginFields{username: "u", password: "p", server: "https://index.docker.io/v1/"}, "docker.io", "docker.io/a/b", auth.Login{User: "u", Secret: "p"}},
		"base64":               {"r.example/a", loginFields{auth: basic}, "r.example", "r.example/a", auth.Login{User: "u", Secret: "p:q"}},
		"identity token":       {"r.example/a", loginFields{identityToken: "i", auth: basic}, "r.example", "r.example/a", auth.Login{Secret: "i"}},
		"registry token":       {"r.example/a", loginFields{registryToken: "t"}, "r.example", "r.example/a", auth.Login{Token: "t"}},
		"password before all":  {"r.example/a", loginFields{"u", "p", basic, "", "i", "t"}, "r.example", "r.example/a", auth.Login{User: "u", Secret: "p"}},
		"for another server":   {"r.example/a", loginFields{username: "u", server: "https://Mirror.example:5000/v2"}, "mirror.example:5000", "r.example/a", auth.Login{User: "u"}},
		"server without a URL": {"r.example/a", loginFields{username: "u", server: "localhost:5000"}, "localhost:5000", "r.example/a", auth.Login{User: "u"}},
		"none":                 {image: "r.example/a"},
		"no image, no login":   {},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := parsePull(pullOf(test.image, test.loginFields))
			if err != nil || r.image != test.image || r.auth != test.loginFields {
				t.Fatalf("read %+v, %v", r, err)
			}
			p, err := r.read()
			if err != nil || (p == nil) != (test.login == auth.Login{}) {
				t.Fatalf("%+v, %v", p, err)
			}
			if p != nil && (p.place != place{test.host, test.repository} || p.login != test.login || !strings.HasPrefix(p.image, test.repository)) {
				t.Errorf("%+v, %+v", *p, p.login)
			}
		})
	}
}

// What cannot be used is an error without a word of the login.
func TestLoginsThatCannotBeUsed(t *testing.T) {
	for name, r := range map[string]pullRequest{
		"no base64":     {"r.example/a", loginFields{auth: password + "!"}},
		"no colon":      {"r.example/a", loginFields{auth: base64.StdEncoding.EncodeToString([]byte(password))}},
		"no server":     {"r.example/a", loginFields{username: "u", server: "https://" + password + "@"}},
		"no address":    {"r.example/a", loginFields{username: "u", server: "http://%" + password}},
		"no image":      {"", loginFields{username: "u", password: password}},
		"an image's id": {strings.Repeat("0", 64), loginFields{username: "u", password: password}},
		"too long":      {"r.example/a", loginFields{username: "u", password: strings.Repeat(password, maxLogin)}},
	} {
		if p, err := r.read(); err == nil || p != nil || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v, %.100v", name, p, err)
		}
	}
	whole := pullOf("r.example/a", loginFields{username: "u", password: "p"})
	for n := range whole {
		if r, err := parsePull(whole[:n]); err == nil && r.auth.password != "" {
			t.Errorf("of %d bytes: %+v", n, r)
		}
	}
	for _, bad := range []string{"\x0a\x03\x0a\x01\xff", "\x12\x03\x12\x01\xff"} { // no UTF-8
		if r, err := parsePull([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func FuzzPullRequest(f *testing.F) {
	f.Add(pullOf("r.example/a:1", loginFields{"u", "p", "YTpi", "https://r.example", "i", "t"}))
	f.Add([]byte("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p *pull
		var err error
		memtest.BoundSmall(t, len(b), 64, func() {
			var r pullRequest
			if r, err = parsePull(b); err == nil {
				p, err = r.read()
			}
		})
		if err == nil && p != nil && (p.host == "" || !strings.Contains(p.repository, "/") || p.login == auth.Login{}) {
			t.Errorf("%q: %+v", b, p)
		}
	})
}
