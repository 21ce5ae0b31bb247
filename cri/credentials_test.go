package cri

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ladle-dev/ladle/auth"
)

func basicOf(host, repository string) auth.Challenge {
	return auth.Challenge{Host: host, Repository: repository}
}

// wants fails unless the users of the logins for a challenge are these.
func (c *Credentials) wants(t *testing.T, ch auth.Challenge, users ...string) {
	t.Helper()
	all, err := c.Logins(t.Context(), ch)
	var got []string
	for _, l := range all {
		got = append(got, l.User+l.Token)
	}
	if err != nil || !slices.Equal(got, users) {
		t.Errorf("logins for %s on %s are of %q, %v; want %q", ch.Repository, ch.Host, got, err, users)
	}
	first, err := c.Credentials(t.Context(), ch)
	if err != nil || len(users) > 0 && first.User+first.Token != users[0] || len(users) == 0 && first != (auth.Login{}) {
		t.Errorf("the login for %s on %s is of %q, %v", ch.Repository, ch.Host, first.User, err)
	}
}

func (c *Credentials) pulled(ctx context.Context, image, user string, err error) {
	c.end(ctx, c.begin(ctx, pullOf(image, loginFields{username: user, password: password})), err)
}

// A login is there while containerd has the pull, and what becomes of it is settled before the
// caller of PullImage has the answer.
func TestLoginIsThereDuringThePull(t *testing.T) {
	ctx, said := withLog(t)
	dir := t.TempDir()
	c := OpenCredentials(ctx, dir)
	here := basicOf("r.example", "r.example/a")
	refuse := false
	b := newBackend(t, func(got call) error {
		c.wants(t, here, "new")
		if refuse {
			return status.Error(codes.Unauthenticated, "who are you")
		}
		got.send(t, "done")
		return nil
	})
	var pulled []string
	b.pulled = func(image string) { pulled = append(pulled, image) }
	proxied := newProxy(t, b, c)
	request := string(pullOf("r.example/a", loginFields{username: "new", password: password}))
	c.wants(t, here)
	for _, refuse = range []bool{true, false, false, true} {
		o := proxied.call(ctx, pullImage, request)
		if (o.status.Code() == codes.Unauthenticated) != refuse {
			t.Errorf("%v", o)
		}
		if refuse {
			c.wants(t, here)
			OpenCredentials(ctx, dir).wants(t, here)
		} else {
			c.wants(t, here, "new")
			OpenCredentials(ctx, dir).wants(t, here, "new")
		}
	}
	if !slices.Equal(pulled, []string{"r.example/a:latest", "r.example/a:latest"}) {
		t.Errorf("it says that %q were pulled", pulled)
	}
	wantNoSecret(t, dir, said)
}

func TestLoginsByTheOutcomeOfPulls(t *testing.T) {
	ctx, said := withLog(t)
	dir := t.TempDir()
	c := OpenCredentials(ctx, dir)
	const image = "r.example/a:1"
	here := basicOf("r.example", "r.example/a")
	wants := func(sealed string, users ...string) {
		t.Helper()
		c.wants(t, here, users...)
		var onDisk []string
		if sealed != "" {
			onDisk = []string{sealed}
		}
		OpenCredentials(ctx, dir).wants(t, here, onDisk...)
	}
	c.pulled(ctx, image, "first", errors.New("no such host"))
	wants("", "first") // better than none
	c.pulled(ctx, image, "good", nil)
	wants("good", "good")
	for _, refused := range []error{
		status.Error(codes.Unauthenticated, ""), status.Error(codes.PermissionDenied, ""),
		status.Error(codes.Unknown, "failed to resolve image: pull access denied: server message: insufficient_scope: authorization failed"),
		status.Error(codes.Unknown, "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 401 Unauthorized"),
		status.Error(codes.Unknown, "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 403 Forbidden"),
	} {
		c.pulled(ctx, image, "bad", refused)
		wants("good", "good")
	}
	c.pulled(ctx, image, "later", status.Error(codes.Unavailable, "the registry is down"))
	wants("good", "good", "later")
	c.pulled(ctx, image, "good", context.Canceled)
	wants("good", "good", "later")
	c.pulled(ctx, image, "better", nil)
	wants("better", "better")

	one := c.begin(ctx, pullOf(image, loginFields{username: "one", password: "1"}))
	two := c.begin(ctx, pullOf(image, loginFields{username: "two", password: "2"}))
	wants("better", "two", "one", "better")
	c.end(ctx, one, nil)
	wants("one", "two", "one")
	c.end(ctx, two, status.Error(codes.Unauthenticated, ""))
	wants("one", "one")
	c.end(ctx, nil, nil)

	// The registry does not want any more what it wanted before: other sources are asked.
	c.pulled(ctx, image, "one", status.Error(codes.Unauthenticated, ""))
	c.wants(t, here, "one") // the password is another one
	c.end(ctx, c.begin(ctx, pullOf(image, loginFields{username: "one", password: "1"})), status.Error(codes.Unauthenticated, ""))
	wants("")
	wantNoSecret(t, dir, said)
}

// A login is for its repository on its host, and for challenges that it can answer.
func TestLoginsAreForOnePlace(t *testing.T) {
	c := OpenCredentials(t.Context(), t.TempDir())
	for _, image := range []string{"r.example:5000/a/b:1", "busybox"} {
		c.pulled(t.Context(), image, image, nil)
	}
	c.end(t.Context(), c.begin(t.Context(), pullOf("r.example/token", loginFields{registryToken: "t"})), nil)
	c.wants(t, basicOf("r.example:5000", "r.example:5000/a/b"), "r.example:5000/a/b:1")
	c.wants(t, basicOf("R.example:5000", "r.example:5000/a/b"), "r.example:5000/a/b:1")
	for _, host := range []string{"docker.io", "registry-1.docker.io", "index.docker.io"} {
		c.wants(t, basicOf(host, "docker.io/library/busybox"), "busybox")
	}
	for _, other := range []auth.Challenge{
		basicOf("r.example", "r.example:5000/a/b"), basicOf("mirror.example", "r.example:5000/a/b"),
		basicOf("r.example:5000", "r.example:5000/a"), basicOf("r.example:5000", "r.example:5000/a/b/c"),
		basicOf("r.example:5000", ""), basicOf("docker.io", "docker.io/library/other"), basicOf("r.example", "r.example/token"),
	} {
		c.wants(t, other)
	}
	c.wants(t, auth.Challenge{Host: "r.example", Repository: "r.example/token", Realm: "https://auth.example"}, "t")
}

// Of very many places, only so many are kept, and none with a pull in progress is forgotten.
func TestPlacesAreBounded(t *testing.T) {
	ctx, said := withLog(t)
	const most, more = 8, 5
	dir := t.TempDir()
	c := openCredentials(ctx, dir, most)
	image := func(n int) string { return fmt.Sprintf("r.example/a%d", n) }
	busy := c.begin(ctx, pullOf(image(0), loginFields{username: "u0", password: password}))
	for n := 1; n < most+more; n++ {
		c.pulled(ctx, image(n), fmt.Sprint("u", n), nil)
	}
	c.wants(t, basicOf("r.example", image(0)), "u0")
	c.end(ctx, busy, nil)
	for _, of := range []*Credentials{c, openCredentials(ctx, dir, most)} {
		if n := len(of.mu.places); n != most {
			t.Errorf("%d places are kept, want %d", n, most)
		}
		of.wants(t, basicOf("r.example", image(0)), "u0")
		for n := range more {
			of.wants(t, basicOf("r.example", image(n+1)))
		}
		of.wants(t, basicOf("r.example", image(more+1)), fmt.Sprint("u", more+1))
	}
	if fewer := openCredentials(ctx, dir, 3); len(fewer.mu.places) != 3 {
		t.Errorf("%d places are read, want 3", len(fewer.mu.places))
	} else {
		fewer.wants(t, basicOf("r.example", image(0)), "u0") // the latest
	}
	var all []*pull
	for n := range most {
		all = append(all, c.begin(ctx, pullOf(image(1000+n), loginFields{username: "u", password: password})))
	}
	if p := c.begin(ctx, pullOf(image(1), loginFields{username: "u", password: password})); p != nil {
		t.Error("there is room for one more than there may be")
	}
	for _, p := range all {
		c.end(ctx, p, status.Error(codes.Unauthenticated, ""))
	}
	if n := len(c.mu.places); n != 0 {
		t.Errorf("%d places are kept of which all logins were refused or forgotten", n)
	}
	wantNoSecret(t, dir, said)
}
