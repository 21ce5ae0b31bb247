package main

import (
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// updateHelp makes the tests write the help texts that they want.
var updateHelp = flag.Bool("update-help", false, "write testdata/help anew")

// commands calls do for each command that is not of package cli, with the arguments that
// name it.
func commands(t *testing.T, do func(t *testing.T, args []string, c *cli.Command)) {
	t.Helper()
	root := commandLine(io.Discard, io.Discard)
	do(t, nil, root)
	for _, c := range root.Commands {
		do(t, []string{c.Name}, c)
	}
}

// TestHelp compares the help text of each command. It is printed on standard output, and
// is no error.
func TestHelp(t *testing.T) {
	commands(t, func(t *testing.T, args []string, c *cli.Command) {
		for _, form := range [][]string{append(args, "--help"), append(args, "-h"), append([]string{"help"}, args...)} {
			out, err := ladle(form...).Output()
			if err != nil {
				t.Errorf("ladle %v: %v", form, err)
			}
			got := strings.ReplaceAll(string(out), runtime.GOOS+"/"+runtime.GOARCH, "PLATFORM-OF-THE-MACHINE")
			golden := filepath.Join("testdata", "help", c.Name+".txt")
			if *updateHelp {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("ladle %v says\n%s\nwant\n%s", form, got, want)
			}
		}
	})
}

// TestCommandsAreDocumented looks for each command and flag in docs/command-line.md.
func TestCommandsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/command-line.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	commands(t, func(t *testing.T, args []string, c *cli.Command) {
		if len(args) > 0 && !strings.Contains(text, "\n## ladle "+c.Name) {
			t.Errorf("there is no section %q", "ladle "+c.Name)
		}
		for _, f := range c.Flags {
			if name := "`--" + f.Names()[0]; !strings.Contains(text, name) {
				t.Errorf("%s: nothing is said about %s`", c.Name, name)
			}
		}
	})
}

// TestCompletion completes a command and a flag in bash.
func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(testProgram(t), filepath.Join(dir, "ladle")); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, err := ladle("completion", shell).Output(); err != nil || !strings.Contains(string(out), "ladle") {
			t.Errorf("the completion for %s is %q, %v", shell, out, err)
		}
	}
	for words, want := range map[string]string{
		"ladle insp":           "inspect",
		"ladle convert --form": "--format",
		"ladle serve --add":    "--address",
	} {
		script := `source <(ladle completion bash)
_comp_initialize() { :; } # of the package bash-completion
COMP_WORDS=(` + words + `)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__ladle_bash_autocomplete
printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.Command("bash", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), asLadle+"=1")
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q is completed by %q, %v", words, got, err)
		}
	}
}
