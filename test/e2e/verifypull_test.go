package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// verifying restarts containerd with ladle as its image verifier.
func (l lab) verifying() {
	l.Helper()
	ladle, err := place.Ladle()
	if err != nil {
		l.Fatal(err)
	}
	dir := filepath.Join(l.Node.Dir, "verifiers")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.Fatal(err)
	}
	// The link of an installation finds its configuration in its usual place.
	d := l.Node.Daemon("ladle")
	config, control := filepath.Join(filepath.Dir(d.LogFile), "ladle.toml"), strings.TrimSuffix(d.Address, ".sock")+"-control.sock"
	script := fmt.Sprintf("#!/bin/bash\nexec -a /verifiers/ladle-verify-pull %q --config %q --control %q --timeout 50s \"$@\"\n", ladle, config, control)
	if err := os.WriteFile(filepath.Join(dir, "ladle-verify-pull"), []byte(script), 0o755); err != nil {
		l.Fatal(err)
	}
	err = l.Node.Reconfigure(l.Context(), func(config string) string {
		return config + fmt.Sprintf("[plugins.\"io.containerd.image-verifier.v1.bindir\"]\n  bin_dir = %q\n  per_verifier_timeout = \"1m\"\n", dir)
	})
	if err != nil {
		l.Fatal(err)
	}
}

// TestVerifyPull: with the verifier, an image that claims another's diffID is not what the
// other one's containers get, whichever is pulled first, by the transfer service and CRI.
func TestVerifyPull(t *testing.T) {
	l := newLabOn(t, stack.Containerd{}, stack.Ladle("ladle", onlyDemand))
	l.verifying()
	byCtr := func(ref string) error { return l.Node.Pull(t.Context(), "ladle", ref) }
	byCRI := func(ref string) error {
		_, client := l.criClient()
		_, err := client.PullImage(t.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
		return err
	}
	for name, pull := range map[string]func(string) error{"ctr": byCtr, "cri": byCRI} {
		t.Run(name+", liar first", func(t *testing.T) {
			l := l.as(t)
			c := l.claimed(name+"-first", lazily)
			if err := pull(c.liar); err != nil {
				t.Fatal(err)
			}
			if err := pull(c.honest); err == nil || !strings.Contains(err.Error(), "is served from image "+c.liar) {
				t.Errorf("the other image is pulled: %v", err)
			}
			if err := pull(c.liar); err == nil || !strings.Contains(err.Error(), "the image claims") {
				t.Errorf("the liar is pulled again: %v", err)
			}
			if name != "ctr" {
				return
			}
			l.Ctr("images", "rm", "--sync", c.liar)
			l.Pull("ladle", c.honest)
			if got := l.Run("ladle", c.honest, "cat", "/which"); got != "right ctr-first\n" {
				t.Errorf("the other image has %q", got)
			}
		})
		t.Run(name+", plain liar first", func(t *testing.T) {
			l := l.as(t)
			c := l.claimed(name+"-plain", plainly)
			if err := pull(c.liar); err == nil {
				t.Error("the liar is pulled")
			}
			for _, ref := range []string{c.honest, c.liar} { // containerd has what the latter claims to have
				if err := pull(ref); err != nil {
					t.Error(err)
				}
			}
			if name != "ctr" {
				return
			}
			for _, ref := range []string{c.honest, c.liar} {
				if got := l.Run("ladle", ref, "cat", "/which"); got != "right ctr-plain\n" {
					t.Errorf("%s has %q", ref, got)
				}
			}
		})
		t.Run(name+", liar second", func(t *testing.T) {
			l := l.as(t)
			c := l.claimed(name+"-second", lazily)
			if err := pull(c.honest); err != nil {
				t.Fatal(err)
			}
			if err := pull(c.liar); err != nil { // containerd has what it claims to have
				t.Error(err)
			}
			if name != "ctr" {
				return
			}
			for _, ref := range []string{c.honest, c.liar} {
				if got := l.Run("ladle", ref, "cat", "/which"); got != "right ctr-second\n" {
					t.Errorf("%s has %q", ref, got)
				}
			}
		})
	}
}
