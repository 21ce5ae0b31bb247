package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCommandOf(t *testing.T) {
	for _, test := range []struct{ argv, want []string }{
		{nil, []string{"ladle"}},
		{[]string{"/usr/bin/ladle", "status"}, []string{"ladle", "status"}},
		{[]string{"/opt/bin/ladle-verify-pull", "-name", "x"}, []string{"ladle", "verify-pull", "-name", "x"}},
	} {
		if got := commandOf(test.argv); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q", test.argv, got)
		}
	}
}

func TestRepositoryOf(t *testing.T) {
	for ref, want := range map[string]string{
		"host:5000/a/b:tag": "host:5000/a/b", "host:5000/a": "host:5000/a", "host/a@sha256:1": "host/a", "host/a:tag@sha256:1": "host/a",
	} {
		if got := repositoryOf(ref); got != want {
			t.Errorf("%s: %s", ref, got)
		}
	}
}

// TestVerifyPullWithoutDaemon is called as containerd's plugin does.
func TestVerifyPullWithoutDaemon(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.toml")
	args := []string{"verify-pull", "-name", "host/a:tag", "-digest", "sha256:1", "-stdin-media-type", "x", "--config", config}
	for text, allowed := range map[string]bool{
		"address = \"" + filepath.Join(t.TempDir(), "a.sock") + "\"\n": true,
		"control_address = \"\"\n":                                     false,
	} {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := ladle(args...).Output()
		if (err == nil) != allowed || !strings.HasPrefix(string(out), "ladle: ") {
			t.Errorf("%s: %q, %v", text, out, err)
		}
	}
}
