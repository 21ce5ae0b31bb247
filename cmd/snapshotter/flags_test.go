package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/config"
)

// configOf returns the configuration that serve has with args.
func configOf(t *testing.T, args ...string) (cfg config.Config, err error) {
	t.Helper()
	cmd := serveCommand()
	cmd.Action = func(_ context.Context, cmd *cli.Command) error {
		cfg, err = serveConfig(cmd)
		return nil
	}
	if err := cmd.Run(t.Context(), append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return cfg, err
}

func TestFlagsOverrideTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	text := "root = \"/from/file\"\naddress = \"/from/file.sock\"\nread_timeout_sec = 7\n[log]\nlevel = \"warn\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configOf(t, "--config", file, "--root", "/from/flag", "--log-level=debug")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Root != "/from/flag" || cfg.Address != "/from/file.sock" || cfg.Log.Level != "debug" || cfg.ReadTimeout != 7 {
		t.Errorf("configuration is %+v", cfg)
	}
}

func TestFlagsAreValidated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := configOf(t, "--config", file, "--log-level", "loud", "--root", "relative")
	if err == nil || !strings.Contains(err.Error(), "log.level") || !strings.Contains(err.Error(), "root") {
		t.Errorf("error is %v", err)
	}
	if _, err := configOf(t, "--config", file+".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error for a file that is not there is %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.toml"), filepath.Join(dir, "bad.toml")
	for name, text := range map[string]string{good: "driver = \"fuse\"\n", bad: "\nread_timeout = 1\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args []string
		code int
		want string // in what it says
	}{
		{nil, 2, "usage:"},
		{[]string{"fly"}, 2, `unknown command "fly"`},
		{[]string{"help"}, 0, "check-config"},
		{[]string{"version"}, 0, "ladle "},
		{[]string{"check-config", good}, 0, "good.toml: ok"},
		{[]string{"check-config", bad}, 1, `bad.toml:2: unknown key "read_timeout"`},
		{[]string{"check-config", good, bad}, 2, "one file"},
		{[]string{"serve", "--help"}, 0, "-log-level"},
		{[]string{"serve", "--fly"}, 2, "-fly"},
		{[]string{"serve", "now"}, 2, `unexpected "now"`},
		{[]string{"serve", "--config", bad}, 1, "read_timeout_sec"},
	} {
		cmd := ladle(test.args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != test.code {
			t.Errorf("ladle %v: exit code %d, want %d", test.args, code, test.code)
		}
		if !strings.Contains(string(out), test.want) {
			t.Errorf("ladle %v says %q, want %q", test.args, out, test.want)
		}
	}
}
