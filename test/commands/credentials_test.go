package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
)

// htpasswd is a user with a password (htpasswd -nbB), and login both in base64.
const (
	htpasswd = "ali:$2a$04$OphWjwoYPB5AODKFeVv3i.n3mYNwC/PkDNr/OjEdW86fuj6mPZHza\n"
	login    = "YWxpOnNwZWFrLWZyaWVuZC00NzEx"
)

// Credentials are those of Docker's configuration file, for what is read and for what is
// written; and an external TOC is found in the registry.
func TestCredentials(t *testing.T) {
	l := newLab(t)
	open := l.push("twice", image.EStargzExternalTOC)
	var r report
	l.must(&r, "inspect", "--json", open)
	for n, of := range r.Images[0].Layers {
		if !of.Lazy || of.Format != "estargz-external-toc" || of.BeforeRun > of.Size {
			t.Errorf("layer %d is %+v", n, of)
		}
	}
	dir := t.TempDir()
	users := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(users, []byte(htpasswd), 0o600); err != nil {
		t.Fatal(err)
	}
	guarded, err := l.registry.Guarded(t.Context(), fmt.Sprintf("  htpasswd:\n    realm: test\n    path: %s\n", users))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guarded.Close(); err != nil {
			t.Error(err)
		}
	})
	from := strings.Replace(open, l.proxy.addr, guarded.Addr, 1)
	to := guarded.Addr + "/made:guarded"
	l.env = []string{"DOCKER_CONFIG=" + dir}
	for _, args := range [][]string{{"inspect", from}, {"convert", from, to}} {
		if o := l.run(args...); o.code != 1 || !strings.Contains(o.stderr, "not authorized") {
			t.Errorf("without credentials %v ended with %+v", args, o)
		}
	}
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, guarded.Addr, login)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var made result
	l.must(&made, "convert", "--json", from, to)
	l.must(&r, "inspect", "--json", to)
	for n, of := range r.Images[0].Layers {
		if !of.Lazy || of.Format != "estargz" || made.Images[0].Layers[n].Action != "converted" {
			t.Errorf("layer %d is %+v, and was %+v", n, of, made.Images[0].Layers[n])
		}
	}
}
