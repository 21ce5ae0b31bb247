package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v3"
)

// TestInstallReplacesTheConfiguration: the content of --config-from takes the place of whatever
// configuration there is, if it is valid.
func TestInstallReplacesTheConfiguration(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "config.toml")
	config := filepath.Join(dir, "etc/ladle/config.toml")
	for _, text := range []string{"[log]\nlevel = \"warn\"\n", "[log]\nlevel = \"debug\"\n", "[lag]\n"} {
		before, _ := os.ReadFile(config)
		writeText(t, file, text)
		out, err := ladle("install", "--root-dir", dir, "--config-from", file).CombinedOutput()
		after, _ := os.ReadFile(config)
		if text == "[lag]\n" {
			if err == nil || !strings.Contains(string(out), "lag") || string(after) != string(before) {
				t.Errorf("a configuration that is wrong: %v, %s\nnow %q, before %q", err, out, after, before)
			}
		} else if err != nil || string(after) != text {
			t.Errorf("%v, %s\nthe configuration is %q, want %q", err, out, after, text)
		}
	}
}

// TestInstallEntersWithTheConfiguration: the file of --config-from is one of the container, and
// is read though it is not in the mount namespace that is entered.
func TestInstallEntersWithTheConfiguration(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	writeText(t, file, "[lag]\n") // nothing is installed with it
	host := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t tmpfs none "$1" && echo && exec cat`, "sh", dir)
	host.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	end, err := host.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	mounted, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = end.Close(); _ = host.Wait() }()
	if _, err := bufio.NewReader(mounted).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	out, err := ladle("install", "--enter", strconv.Itoa(host.Process.Pid), "--config-from", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "unknown key") || strings.Contains(string(out), file) {
		t.Errorf("%v, %s", err, out)
	}
}

// TestInstallUndoneTwice: what is not installed can be taken away, since a pod may start again.
func TestInstallUndoneTwice(t *testing.T) {
	if out, err := ladle("install", "--root-dir", t.TempDir(), "--undo").CombinedOutput(); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}

// TestRepeatedCheck: what a check says is printed when it is not what it said before.
func TestRepeatedCheck(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	says := []string{"a", "a", "b", "b", "a", "end"}
	cmd := &cli.Command{Name: "install", Writer: &out, Flags: podFlags()}
	cmd.Action = func(ctx context.Context, cmd *cli.Command) error {
		return repeatCheck(ctx, cmd, func() error {
			text := says[0]
			if says = says[1:]; len(says) == 0 {
				cancel()
			}
			fmt.Fprintln(cmd.Root().Writer, text)
			return reported{errors.New("a check failed")}
		})
	}
	if err := cmd.Run(ctx, []string{"install", "--every", "1ms"}); err != nil {
		t.Error(err)
	}
	if got := out.String(); got != "a\nb\na\n" {
		t.Errorf("%q is printed", got)
	}
}

func writeText(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestInstallUsesAPackage: with a unit of a package in place there is no other one, unless the
// host needs another.
func TestInstallUsesAPackage(t *testing.T) {
	dir := t.TempDir()
	packaged := filepath.Join(dir, "usr/lib/systemd/system/ladle.service")
	if err := os.MkdirAll(filepath.Dir(packaged), 0o755); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "etc/systemd/system/ladle.service")
	for _, c := range []struct {
		unit  string
		wants bool
	}{
		{strings.ReplaceAll(readUnit(t), "/usr/local/bin/ladle", "/usr/bin/ladle"), false},
		{readUnit(t), true}, // its program is another one
	} {
		writeText(t, packaged, c.unit)
		if err := os.Chmod(packaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := ladle("install", "--root-dir", dir, "--prefix", "/usr").CombinedOutput(); err != nil {
			t.Fatalf("%v, %s", err, out)
		}
		if _, err := os.Stat(own); (err == nil) != c.wants {
			t.Errorf("%s: %v", own, err)
		}
		enabled, err := os.Readlink(filepath.Join(dir, "etc/systemd/system/multi-user.target.wants/ladle.service"))
		if err != nil || strings.HasPrefix(enabled, "/etc") != c.wants {
			t.Errorf("enabled is %q, %v", enabled, err)
		}
	}
}
