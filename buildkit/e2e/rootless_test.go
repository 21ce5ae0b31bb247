package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withoutDevices takes devices out of a Dockerfile: nobody can make one in a
// user namespace.
var withoutDevices = strings.NewReplacer("mknod /null c 1 3", "true", "cp -a /opt/edits", "rm /opt/edits/null && cp -a /opt/edits",
	"--from=tools /opt/edits", "--from=tools --exclude=null /opt/edits", "--chown=7:8 /opt/edits", "--chown=7:8 --exclude=null /opt/edits")

// An image that an unprivileged user builds on ladle is the one that root
// builds on overlayfs, layer for layer.
func TestRootlessSameLayers(t *testing.T) {
	newRootless(t, allIDs, rootlessKinds...).sameLayers(t, rootlessKinds, withoutDevices.Replace)
}

// rootlessGraphs are what differs from root's by how overlayfs is told about
// directories and whiteouts. (All the others are the same, too, and take long.)
var rootlessGraphs = regexp.MustCompile(`^(local-.*|change-(opaque|whiteouts)|merge-(deep|lazy-below|local|local-lazy|of-diffs)|diff-unrelated-on)$`)

// So are merges and diffs, which ladle makes in its user namespace.
func TestRootlessSameGraphs(t *testing.T) {
	t.Setenv("GRAPHS_ROOTLESS", "1")
	r := newRootless(t, allIDs, rootlessLadle)
	plain, lazy := r.sources()
	for name := range strings.FieldsSeq(string(graphs(t))) {
		if !rootlessGraphs.MatchString(name) {
			continue
		}
		t.Run(name, func(t *testing.T) { r.as(t).sameGraph(name, plain, lazy, rootlessLadle) })
	}
}

// What a rootless build does not read is not fetched, and merges read nothing.
func TestRootlessIsLazy(t *testing.T) {
	r := newRootless(t, allIDs, rootlessKinds...)
	for _, kind := range rootlessKinds {
		for name, steps := range map[string]string{
			"run":       "FROM ${BASE}\nRUN test -s /etc/passwd\n",
			"copy":      "FROM scratch\nCOPY --from=base /etc/apt /apt\n",
			"link":      "FROM ${BASE}\nCOPY --link hello /etc/hello\nRUN test -s /etc/hello\n",
			"link from": "FROM ${BASE}\nCOPY --link --from=base /etc/passwd /copied\nRUN test -s /copied\n",
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				l := r.as(t)
				dir := l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE} AS base\n" + steps, "hello": "hello\n"})
				l.Link.Reset()
				l.build(kind, dir, "")
				if got, size := l.fetched(), l.size(l.base); got > size/5 {
					t.Errorf("%d of %d bytes were fetched", got, size)
				}
				l.prune(kind)
			})
		}
	}
	_, images := r.sources()
	r.walk(rootlessLadle, images, "walk-base")
	r.walk(rootlessLadle, images, "walk-other")
	for _, name := range []string{"walk-merge", "walk-diff-parent", "walk-diff-unrelated", "walk-merge-diff"} {
		t.Run(name, func(t *testing.T) {
			l := r.as(t)
			l.Link.Reset()
			l.walk(rootlessLadle, images, name)
			if got := l.fetched(); got > 50_000 {
				t.Errorf("%d bytes were fetched", got)
			}
		})
	}
}

// A ladle that is killed, or stopped, starts again in the namespaces that the
// workers are in.
func TestRootlessRestart(t *testing.T) {
	r := newRootless(t, allIDs, rootlessKinds...)
	stop := func() {
		if err := r.ladle.Stop(); err != nil {
			t.Error(err)
		}
	}
	for _, how := range []string{"killed", "killed while it is read", "stopped"} {
		for _, kind := range rootlessKinds {
			t.Run(how+"/"+kind, func(t *testing.T) {
				l := r.as(t)
				switch how {
				case "killed":
					r.ladle.Kill()
				case "stopped":
					stop()
				default:
					t.Logf("the build that met the fault: %v", lastLines(l.buildAnd(kind, func() { r.ladle.Kill() })))
				}
				r.startLadle(r.workers[kind])
				for _, kind := range rootlessKinds {
					l.awaitLadle(kind)
				}
				dir := l.project(map[string]string{"hello": "hello\n", "Dockerfile": "ARG BASE\nFROM ${BASE}\n" +
					"RUN wc -c /etc/* >/sizes || true\nCOPY --link hello /etc/\nRUN cat /etc/hello /sizes && echo " + how + "\n"})
				l.build(kind, dir, "after")
			})
		}
	}
}

// Files whose owner is not in the user's range are in nobody's way, but cannot be
// copied. On overlayfs such an image is of no use at all.
func TestRootlessForeignOwners(t *testing.T) {
	r := newRootless(t, usualIDs, rootlessOCI, rootlessLadle, rootlessOverlayfs)
	const around = "RUN test \"$(stat -c %u /opt/edits/sub/dir/secret)\" = 65534 && echo made >/opt/edits/sub/dir/made && mv /opt/edits/large /large\n" +
		"COPY --link hello /opt/edits/hello\nRUN rm /opt/edits/hello\n"
	for _, test := range []struct{ kind, steps, want string }{
		{rootlessOCI, around, ""},
		{rootlessLadle, around, ""},
		{rootlessOCI, "COPY --from=base /opt/edits/sub /copied\n", "permission denied"},
		{rootlessLadle, "COPY --from=base /opt/edits/sub /copied\n", "permission denied"},
		{rootlessOverlayfs, "RUN true\n", "try increasing the number of subordinate IDs"},
	} {
		dir := r.project(map[string]string{"hello": "hello\n", "Dockerfile": "ARG BASE\nFROM ${BASE} AS base\nFROM base\n" + test.steps})
		_, err := r.tryBuild(test.kind, dir, "", "")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("on the %s worker: %v; want %q", test.kind, err, test.want)
		}
	}
}

// What one stage copies from another is stored once, without root, too.
func TestRootlessCopyIsStoredOnce(t *testing.T) {
	r := newRootless(t, allIDs, rootlessLadle)
	s := stages{r.lab, rootlessLadle, r.project(map[string]string{"Dockerfile": copying}), 500}
	root := filepath.Join(r.user.home(), ".local/share/ladle")
	s.build("builder", "")
	source := s.listing(s.copies(root, 1)[0])
	s.build("final", "")
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		s.collect()
		shared := 0
		for i := range s.files {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(s.copies(root, 2)[1], "0", strconv.Itoa(i)), &st); err != nil {
				t.Fatal(err)
			}
			if st.Nlink > 1 {
				shared++
			}
		}
		if shared == s.files {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d files are stored once", shared, s.files)
		}
	}
	for _, dir := range s.copies(root, 2) {
		s.same(source, s.listing(dir))
	}
}

func TestRootlessUnitsAreVerifiedBySystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd is not installed")
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", "--user", "verify",
		"../../script/ladle-rootless.service", "../../script/buildkitd-rootless.service")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
