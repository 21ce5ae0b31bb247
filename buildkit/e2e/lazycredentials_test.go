package e2e

import (
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// What one user built on a private image is in the cache for another user who may
// read the same layers elsewhere, and who reads them there; nobody else gets it.
func TestPrivateBaseIsReadFromWhereTheClientMay(t *testing.T) {
	l := newLab(t, labOptions{kinds: merging[:1]})
	kind := merging[0]
	w := l.workers[kind]
	g := l.guard(basic)
	const steps = "RUN cat /etc/passwd >/copy\n"
	l.login(kind, g)
	l.lazily(kind, g, steps)
	l.logout(kind)
	for _, restart := range []bool{false, true} {
		if restart {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			l.restart(w.Start)
		}
		if err := l.onGuarded(kind, g, steps); err == nil {
			t.Error("who may not read the image gets what was built on it")
		}
		g.Reset()
		b := worker.Build{
			Dir: l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\n" + steps}), Args: map[string]string{"BASE": l.base},
			Output: "type=oci,dest=" + filepath.Join(t.TempDir(), "image.tar"),
		}
		ran, err := w.Steps(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range ran {
			if isStep(s.Name) {
				t.Errorf("%s ran again", s.Name)
			}
		}
		if c := g.Counters(); c.BytesDown > 10_000 {
			t.Errorf("%d bytes are of the registry that this client may not read", c.BytesDown)
		}
	}
}
