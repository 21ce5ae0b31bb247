package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// nowhere is a registry that does not exist (RFC 2606).
const nowhere = "nowhere.invalid"

// named is the reference of the lab's base in another registry.
func (l lab) named(registry string) string {
	_, path, _ := strings.Cut(l.base, "/")
	return registry + "/" + path
}

// lazilyBy builds on the base as a registry names it and fails if much of it is
// fetched, or nothing, by way of f.
func (l lab) lazilyBy(kind, registry string, f front, steps string) {
	l.Helper()
	dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\n" + steps})
	f.Reset()
	if _, err := l.workers[kind].Build(l.Context(), worker.Build{Dir: dir, Args: map[string]string{"BASE": l.named(registry)}}); err != nil {
		l.Fatal(err)
	}
	c := f.Counters()
	l.Logf("%q from %s on %s: %d requests, %d bytes down", steps, registry, kind, c.Requests, c.BytesDown)
	if size := l.size(l.base); c.BytesDown > size/5 || c.BytesDown < 10_000 {
		l.Errorf("%d of %d bytes were fetched", c.BytesDown, size)
	}
}

// startWith starts workers with more in buildkitd.toml.
func (l lab) startWith(config string, kinds ...string) {
	l.Helper()
	for _, kind := range kinds {
		o := l.options(kind)
		o.Config = config
		l.startWorker(kind, o)
	}
}

// What buildkitd.toml says of registries counts for ladle, which is told nothing
// else of them.
func TestRegistriesOfBuildKit(t *testing.T) {
	l := newLab(t, labOptions{})
	a := newAuthority(t)
	certificates := t.TempDir()
	ca := a.file(t, t.TempDir())
	a.file(t, certificates)
	a.client(t, certificates)
	mirror := l.front(frontOptions{})
	below := l.front(frontOptions{by: a, path: "mirror/of"})
	secure := l.front(frontOptions{by: a})
	mutual := l.front(frontOptions{by: a, clients: true})
	insecure := l.front(frontOptions{by: a})
	plain := l.front(frontOptions{})
	config := ""
	section := func(registry, format string, args ...any) {
		config += fmt.Sprintf("[registry.%q]\n", registry) + fmt.Sprintf(format, args...) + "\n"
	}
	section(nowhere, "mirrors = [%q]", mirror.Addr())
	section("other."+nowhere, "mirrors = ['127.0.0.1:1', '%s/mirror/of']", below.Addr())
	section(below.Addr(), "http = false\nca = [%q]", ca)
	section(secure.Addr(), "http = false\nca = [%q]", ca)
	section(mutual.Addr(), "http = false\ntlsconfigdir = [%q]", certificates)
	section(insecure.Addr(), "insecure = true")
	section(plain.Addr(), "insecure = true\nhttp = true")
	l.startWith(config, merging...)
	for _, kind := range merging {
		for name, c := range map[string]struct {
			registry string
			front    front
		}{
			"mirror": {nowhere, mirror}, "second mirror, with a path and TLS": {"other." + nowhere, below}, "ca": {secure.Addr(), secure},
			"client certificate": {mutual.Addr(), mutual}, "insecure": {insecure.Addr(), insecure}, "insecure and without TLS": {plain.Addr(), plain},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				l := l.as(t)
				l.lazilyBy(kind, c.registry, c.front, "RUN test -s /etc/passwd\n")
				l.lazilyBy(kind, c.registry, c.front, "RUN cat /usr/bin/perl >/dev/null\n")
				l.pruneAll()
			})
		}
	}
}

// Where the images are can be asked as long as buildkitd runs, also if no build
// does: ladle was restarted, and reads on. Without both it cannot, until a build.
func TestRegistriesAfterRestarts(t *testing.T) {
	const kind = ladleOnContainerd
	l := newLab(t, labOptions{config: "read_timeout_sec = 5\n"})
	mirror := l.front(frontOptions{})
	l.startWith(fmt.Sprintf("[registry.%q]\nmirrors = [%q]\n", nowhere, mirror.Addr()), kind)
	l.lazilyBy(kind, nowhere, mirror, "RUN test -s /etc/passwd\n")
	reads := func(name string, want bool) {
		t.Helper()
		mirror.Reset()
		err := l.read(kind, name)
		if got := mirror.Counters().BytesDown > 0; (err == nil) != want || got != want {
			t.Errorf("read %s: %v; something was fetched: %t", name, err, got)
		}
	}
	restart := func() {
		t.Helper()
		l.Node.Daemon(plugin).Kill()
		l.restart(l.Node.Daemon(plugin).Start)
	}
	reads("usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", true)
	restart()
	l.awaitLadle(kind)
	reads("usr/share/perl/5.36.0/Unicode/Collate/allkeys.txt", true)
	if err := l.workers[kind].Close(); err != nil {
		t.Fatal(err)
	}
	reads("usr/lib/x86_64-linux-gnu/libcrypto.so.3", true)
	restart()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // as in awaitLadle
		_, err := l.Node.Ctr(l.Context(), "--namespace", l.workers[kind].Namespace(), "snapshots", "--snapshotter", plugin, "ls")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	reads("usr/bin/perl", false)
	l.restartWorker(kind)
	l.lazilyBy(kind, nowhere, mirror, "RUN cat /usr/bin/perl >/dev/null\n")
	l.pruneAll()
}

// What ladle's own configuration says of a registry comes before buildkitd.toml,
// and what it says of any registry after it.
func TestWhoseRegistries(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, labOptions{config: fmt.Sprintf("hosts_dir = %q\n", dir)})
	own, any, lent := l.front(frontOptions{}), l.front(frontOptions{}), l.front(frontOptions{})
	write(t, filepath.Join(dir, nowhere, "hosts.toml"), fmt.Sprintf("[host.\"http://%s\"]\n", own.Addr()))
	write(t, filepath.Join(dir, "_default", "hosts.toml"), fmt.Sprintf("[host.\"http://%s\"]\n", any.Addr()))
	const kind = ladleOnOCI
	l.startWith(fmt.Sprintf("[registry.%[1]q]\nmirrors = [%[3]q]\n[registry.%[2]q]\nmirrors = [%[3]q]\n", nowhere, "other."+nowhere, lent.Addr()), kind)
	read := func(registry string, by front) {
		t.Helper()
		for _, f := range []front{own, any, lent} {
			f.Reset()
		}
		dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN cat /usr/bin/perl >/dev/null\n"})
		if _, err := l.workers[kind].Build(l.Context(), worker.Build{Dir: dir, Args: map[string]string{"BASE": l.named(registry)}}); err != nil {
			t.Fatal(err)
		}
		if by.Counters().BytesDown < 1_000_000 { // BuildKit itself reads the manifest
			t.Errorf("own %d, any %d, lent %d bytes", own.Counters().BytesDown, any.Counters().BytesDown, lent.Counters().BytesDown)
		}
		if n := own.Counters().BytesDown + any.Counters().BytesDown + lent.Counters().BytesDown; n > l.size(l.base)/5 {
			t.Errorf("%d bytes were fetched", n)
		}
		l.pruneAll()
	}
	read(nowhere, own)
	read("other."+nowhere, lent)
}

// A mirror gets the credentials that the client has for the mirror, and gets
// them for the repository that the image names. Who has none builds nothing.
func TestGuardedMirror(t *testing.T) {
	l := newLab(t, labOptions{})
	guards := map[string]guard{basic: l.guard(basic), token: l.guard(token)}
	config := ""
	for scheme, g := range guards {
		config += fmt.Sprintf("[registry.%q]\nmirrors = [%q]\n", scheme+"."+nowhere, g.Addr())
	}
	l.startWith(config, merging...)
	for scheme, g := range guards {
		for _, kind := range merging {
			t.Run(scheme+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN test -s /etc/passwd\n"})
				l.logout(kind)
				_, err := l.workers[kind].Build(l.Context(), worker.Build{Dir: dir, Args: map[string]string{"BASE": l.named(scheme + "." + nowhere)}})
				if err == nil {
					t.Error("somebody built without credentials")
				}
				l.login(kind, g)
				l.lazilyBy(kind, scheme+"."+nowhere, front{g.Link}, "RUN test -s /etc/passwd\n")
				l.lazilyBy(kind, scheme+"."+nowhere, front{g.Link}, "RUN cat /usr/bin/perl >/dev/null\n")
				if g.tokens != nil && g.tokens.passwords.Load() != 0 {
					t.Error("ladle was given the password where a token would do")
				}
				l.pruneAll()
			})
		}
	}
}
