package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// bigLayer is how many bytes the layer has that is in the cache.
const bigLayer = 24 << 20

// cachedStep makes it. What is random does not become smaller.
const cachedStep = "RUN head -c 25165824 /dev/urandom >/big && head -c 100000 /dev/urandom >/small\n"

// What --cache-from names is read lazily with the credentials of the build's
// client, which alone has any: nothing runs again, and little is fetched.
func TestCacheFromGuardedRegistry(t *testing.T) {
	l := newLab(t, labOptions{kinds: merging})
	const format = "compression=estargz,force-compression=true,oci-mediatypes=true"
	for _, c := range []struct{ cache, scheme, kind string }{
		{"inline", basic, ladleOnOCI}, {"registry", token, ladleOnOCI},
		{"inline", token, ladleOnContainerd}, {"registry", basic, ladleOnContainerd},
	} {
		t.Run(c.cache+"/"+c.scheme+"/"+c.kind, func(t *testing.T) {
			cache, scheme, kind := c.cache, c.scheme, c.kind
			l := l.as(t)
			g := l.guard(scheme)
			name := l.Link.Addr() + "/" + cache + "-" + scheme + "-" + kind
			flags, output := []string{"--export-cache", "type=inline"}, "type=image,push=true,store=false,"+format+",name="+name
			if cache == "registry" {
				flags, output = []string{"--export-cache", "type=registry,mode=max," + format + ",ref=" + name}, ""
			}
			if err := l.cached(kind, cachedStep, output, flags...); err != nil {
				t.Fatal(err)
			}
			l.pruneAll()
			l.login(kind, g)
			g.Reset()
			err := l.cached(kind, cachedStep+"RUN test $(wc -c </small) = 100000 && test -e /big\n", "", "--import-cache", "type=registry,ref="+g.ref(name))
			if err != nil {
				t.Fatal(err)
			}
			got := g.Counters()
			t.Logf("%d requests, %d of %d bytes", got.Requests, got.BytesDown, bigLayer)
			if got.BytesDown > bigLayer/2 || got.BytesDown < 100_000 { // chunks of the big file are large
				t.Errorf("%d bytes were fetched of a layer of %d", got.BytesDown, bigLayer)
			}
			if g.tokens != nil && g.tokens.passwords.Load() != 0 {
				t.Error("ladle was given the password where a token would do")
			}
			l.pruneAll()
			l.logout(kind)
		})
	}
}

// cached builds steps on the lab's base.
func (l lab) cached(kind, steps, output string, flags ...string) error {
	dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\n" + steps})
	b := worker.Build{Dir: dir, Args: map[string]string{"BASE": l.base}, Output: output, Flags: flags}
	ran, err := l.workers[kind].Steps(l.Context(), b)
	if err != nil {
		return err
	}
	for _, s := range ran {
		if len(flags) > 0 && flags[0] == "--import-cache" && strings.Contains(s.Name, "/dev/urandom") {
			return fmt.Errorf("%s ran again", s.Name)
		}
	}
	return nil
}
