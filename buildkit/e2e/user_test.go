package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/test/place"
)

// user is an unprivileged user with a range of subordinate ids, as adduser
// makes them. No file of the machine is changed: what the user runs has a mount
// namespace in which /etc has the user's entries, everybody may open /dev/fuse
// (as udev has it), and the programs are where the user can reach them.
type user struct {
	dir string // for all that is the user's
}

const userID = 47110

// How many ids a user may map: what adduser gives, and enough for the owner of
// a file in the image that most builds start from, 100,000.
const (
	usualIDs = 65536
	allIDs   = 200_000
)

// newUser makes a user with a home directory and one for sockets, who may map
// so many ids.
func newUser(t testing.TB, ids int) user {
	t.Helper()
	const restrict = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	if value, err := os.ReadFile(restrict); err == nil && value[0] == '1' {
		t.Fatalf("users may do nothing in user namespaces: %s is 1 (Ubuntu), see docs/buildkit.md", restrict)
	}
	// On a disk, and short: the address of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("/var/tmp", "ladle-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o711))
	u := user{dir}
	subordinate := fmt.Sprintf("builder:300000:%d\n", ids)
	become := "set -eu\n"
	bind := func(name, at string) { become += fmt.Sprintf("mount --bind '%s' '%s'\n", name, at) }
	for name, added := range map[string]string{
		"passwd": fmt.Sprintf("builder:x:%d:%[1]d::%s:/bin/sh\n", userID, u.home()),
		"group":  fmt.Sprintf("builder:x:%d:\n", userID),
		"subuid": subordinate, "subgid": subordinate,
	} {
		old, err := os.ReadFile("/etc/" + name)
		must(err)
		write(t, filepath.Join(dir, "etc", name), string(old)+added)
		bind(filepath.Join(dir, "etc", name), "/etc/"+name)
	}
	fuse := filepath.Join(dir, "etc", "fuse")
	must(exec.CommandContext(t.Context(), "mknod", "--mode=666", fuse, "c", "10", "229").Run())
	bind(fuse, "/dev/fuse")
	for name, program := range u.programs(t) {
		write(t, u.program(name), "")
		bind(program, u.program(name))
	}
	become += fmt.Sprintf("export USER=builder HOME='%s' XDG_RUNTIME_DIR='%s'\n", u.home(), u.sockets())
	become += fmt.Sprintf("exec setpriv --reuid %d --regid %[1]d --clear-groups \"$@\"\n", userID)
	write(t, u.become(), become)
	u.mkdir(t, u.home())
	u.mkdir(t, u.sockets())
	return u
}

// programs are the paths of the programs that the user runs, by name.
func (u user) programs(t testing.TB) map[string]string {
	t.Helper()
	root, err := place.Root()
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{"ladle-buildkitd": filepath.Join(root, "bin", "ladle-buildkitd")}
	if programs["ladle"], err = place.Ladle(); err != nil {
		t.Fatal(err)
	}
	if programs["buildkitd"], err = place.Component("buildkitd"); err != nil {
		t.Fatal(err)
	}
	return programs
}

func (u user) program(name string) string { return filepath.Join(u.dir, "bin", name) }
func (u user) home() string               { return filepath.Join(u.dir, "home") }
func (u user) sockets() string            { return filepath.Join(u.dir, "run") }
func (u user) become() string             { return filepath.Join(u.dir, "become") }

// mkdir makes a directory that is the user's.
func (u user) mkdir(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, userID, userID); err != nil {
		t.Fatal(err)
	}
}

// command is a command line that runs argv as the user. Each is one process,
// with the same id all the way.
func (u user) command(argv ...string) []string {
	return append([]string{"unshare", "--mount", "sh", u.become()}, argv...)
}
