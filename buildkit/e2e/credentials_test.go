package e2e

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// onGuarded builds steps on a guarded image.
func (l lab) onGuarded(kind string, g guard, steps string) error {
	dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\n" + steps})
	g.Reset()
	_, err := l.workers[kind].Build(l.Context(), worker.Build{Dir: dir, Args: map[string]string{"BASE": g.ref(l.base)}})
	c := g.Counters()
	l.Logf("%q on %s: %d requests, %d bytes down", steps, kind, c.Requests, c.BytesDown)
	return err
}

// login makes the clients of a worker the user of g.
func (l lab) login(kind string, g guard) { write(l.TB, l.dockerConfig(kind), g.config()) }

// logout makes them nobody.
func (l lab) logout(kind string) {
	l.Helper()
	if err := os.Remove(l.dockerConfig(kind)); err != nil && !os.IsNotExist(err) {
		l.Fatal(err)
	}
}

func (l lab) dockerConfig(kind string) string {
	return filepath.Join(l.workers[kind].Dir, "docker", "config.json")
}

// lazily builds on a guarded image and fails if much of it is fetched.
func (l lab) lazily(kind string, g guard, steps string) {
	l.Helper()
	if err := l.onGuarded(kind, g, steps); err != nil {
		l.Fatal(err)
	}
	if got, size := g.Counters().BytesDown, l.size(l.base); got > size/5 {
		l.Errorf("%d of %d bytes were fetched", got, size)
	}
}

// The client of a build has credentials and ladle has none: the base is lazy.
// Without them nothing is built, not even with what is there already.
func TestCredentialsOfTheClient(t *testing.T) {
	l := newLab(t, labOptions{kinds: merging})
	for _, scheme := range []string{basic, token} {
		for _, kind := range merging {
			t.Run(scheme+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				g := l.guard(scheme)
				refused := func() {
					err := l.onGuarded(kind, g, "RUN test -s /etc/passwd\n")
					if err == nil || !strings.Contains(err.Error(), "401") && !strings.Contains(err.Error(), "authoriz") {
						t.Errorf("without credentials: %v", lastLines(err))
					}
				}
				refused()
				l.login(kind, g)
				l.lazily(kind, g, "RUN test -s /etc/passwd\n")
				l.lazily(kind, g, "RUN cat /usr/bin/perl >/dev/null\n")
				l.logout(kind)
				refused()
				daemon := l.Node.Daemon(plugin)
				l.noSecrets(filepath.Dir(daemon.LogFile), daemon.Root+"/f", daemon.Root+"/l")
				l.noSecrets(l.workers[kind].Dir)
				if g.tokens != nil && g.tokens.passwords.Load() != 0 {
					t.Error("ladle was given the password where a token would do")
				}
				l.pruneAll()
			})
		}
	}
}

// A client that does not fetch tokens lends its password to who does.
func TestClientWithoutTokens(t *testing.T) {
	t.Setenv("BUILDKIT_NO_CLIENT_TOKEN", "true") // of buildctl
	l := newLab(t, labOptions{kinds: merging[:1]})
	g := l.guard(token)
	l.login(merging[0], g)
	l.lazily(merging[0], g, "RUN cat /usr/bin/perl >/dev/null\n")
	if g.tokens.passwords.Load() == 0 {
		t.Error("the client fetched tokens")
	}
}

// noSecrets fails if the user's password is in a file below dir that is not in
// one of the directories mounts.
func (l lab) noSecrets(dir string, mounts ...string) {
	l.Helper()
	files := 0
	secrets := [][]byte{[]byte(guardPassword), []byte(guardLogin)}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it is being used
		}
		if slices.Contains(mounts, path) {
			return fs.SkipDir
		}
		if err != nil || !d.Type().IsRegular() || d.Name() == "data" || d.Name() == "image" { // of a layer or tree, and sparse
			return err
		}
		text, err := os.ReadFile(path)
		files++
		for _, secret := range secrets {
			if bytes.Contains(text, secret) {
				l.Errorf("a password is in %s", path)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil || files < 5 {
		l.Errorf("of %s, %d files were read: %v", dir, files, err)
	}
}

// What a build began to read can be read on when its client is gone, for as long
// as a token lives, but not once ladle has forgotten the credentials that it was
// lent, which it keeps in memory alone. The next build that may read the image
// lends them again, and what is open then goes on.
func TestReadsAfterTheBuild(t *testing.T) {
	const kind = ladleOnContainerd
	l := newLab(t, labOptions{kinds: []string{kind}, config: "read_timeout_sec = 5\n"})
	for _, scheme := range []string{basic, token} {
		t.Run(scheme, func(t *testing.T) {
			l := l.as(t)
			g := l.guard(scheme)
			live := func(seconds int64) {
				if g.tokens != nil {
					g.tokens.life.Store(seconds)
				}
			}
			live(3600)
			l.login(kind, g)
			l.lazily(kind, g, "RUN test -s /etc/passwd\n")
			reads := func(name string, want bool) {
				t.Helper()
				g.Reset()
				err := l.read(kind, name)
				if (err == nil) != want {
					t.Errorf("read %s: %v", name, err)
				}
				if err == nil && g.Counters().BytesDown == 0 {
					t.Errorf("%s was there already", name)
				}
			}
			reads("usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", true)
			l.Node.Daemon(plugin).Kill()
			l.restartLadle()
			reads("usr/share/perl/5.36.0/Unicode/Collate/allkeys.txt", false)
			live(1)
			l.lazily(kind, g, "RUN cat /usr/share/perl/5.36.0/Unicode/Collate/allkeys.txt >/dev/null\n")
			time.Sleep(2 * time.Second)
			reads("usr/bin/perl", scheme == basic)
			live(3600)
			l.lazily(kind, g, "RUN wc -c /usr/bin/perl\n")
			reads("usr/lib/x86_64-linux-gnu/libcrypto.so.3", true)
			l.pruneAll()
		})
	}
}

// A layer that two images have is read for each of their users with his own
// credentials, whoever was the first to read it.
func TestLayerOfTwoUsers(t *testing.T) {
	l := newLab(t, labOptions{kinds: merging})
	for _, kind := range merging {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			one, other := l.guard(basic), l.guard(token)
			l.login(kind, one)
			l.lazily(kind, one, "RUN test -s /etc/passwd\n")
			l.Node.Daemon(plugin).Kill() // it forgets what it was lent
			l.restartLadle()
			l.login(kind, other)
			one.Reset()
			for _, name := range []string{"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/share/perl/5.36.0/Unicode/Collate/allkeys.txt"} {
				l.lazily(kind, other, "RUN cat "+name+" >/dev/null\n")
			}
			if got := one.Counters().BytesDown; got > 10_000 {
				t.Errorf("%d bytes came from the registry that the user may not read", got)
			}
			l.pruneAll()
		})
	}
}

// A lender that was killed lends again when it is back.
func TestBuildkitdRestartsAndLends(t *testing.T) {
	l := newLab(t, labOptions{kinds: merging})
	for _, kind := range merging {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			g := l.guard(basic)
			l.login(kind, g)
			l.lazily(kind, g, "RUN test -s /etc/passwd\n")
			l.workers[kind].Kill()
			l.restartWorker(kind)
			l.Node.Daemon(plugin).Kill() // it forgets what it was lent
			l.restartLadle()
			l.lazily(kind, g, "RUN cat /usr/lib/x86_64-linux-gnu/libcrypto.so.3 >/dev/null\n")
			if err := l.workers[kind].Close(); err != nil {
				t.Error(err)
			}
			if left, err := os.Stat(filepath.Join(l.workers[kind].Dir, "root", "ladle")); !os.IsNotExist(err) {
				t.Errorf("it left %v, %v", left, err)
			}
			l.restartWorker(kind)
			l.pruneAll()
		})
	}
}

// read reads a file of the lazy base in a view of containerd's.
func (l lab) read(kind, name string) error {
	l.Helper()
	args := func(call ...string) []string {
		return append([]string{"--namespace", l.workers[kind].Namespace(), "snapshots", "--snapshotter", plugin}, call...)
	}
	ctr := func(call ...string) string { l.Helper(); return l.Ctr(args(call...)...) }
	dir, key := l.TempDir(), "view-of-"+filepath.Base(name)
	const tries = 10 // containerd may collect it before it has its label
	for n := 1; ; n++ {
		ctr("view", key, l.top(ctr("ls")))
		if _, err := l.Node.Ctr(l.Context(), args("label", key, "containerd.io/gc.root=test")...); err == nil {
			break
		} else if n == tries {
			l.Fatal(err)
		}
	}
	defer ctr("rm", key)
	mount := strings.Fields(ctr("mounts", dir, key)) // the command, as it prints it
	if out, err := exec.CommandContext(l.Context(), mount[0], mount[1:]...).CombinedOutput(); err != nil {
		l.Fatalf("%q: %v\n%s", mount, err, out)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			l.Error(err)
		}
	}()
	_, err := os.ReadFile(filepath.Join(dir, name))
	return err
}

// top is the snapshot of the base's topmost layer in a list of ctr's.
func (l lab) top(list string) string {
	l.Helper()
	parents := map[string]string{}
	for line := range strings.Lines(list) {
		switch f := strings.Fields(line); {
		case len(f) == 3 && f[2] == "Committed":
			parents[f[0]] = f[1]
		case len(f) == 2 && f[1] == "Committed":
			parents[f[0]] = ""
		}
	}
	for key := range parents {
		depth := 0
		for at := key; at != ""; at = parents[at] {
			depth++
		}
		if depth == len(l.layers(l.base)) { // what a RUN made is above it
			return key
		}
	}
	l.Fatalf("no snapshot has as many ancestors as the base has layers:\n%s", list)
	return ""
}
