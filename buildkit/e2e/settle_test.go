package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// copiedFiles is how many files of copiedSize bytes a stage copies, unless
// LADLE_COPIED_FILES says another number: 50000 are 2 GB.
const (
	copiedFiles = 2500
	copiedSize  = 40960
)

// copying makes files in one stage, takes them over in another, and changes some
// on both sides.
const copying = `ARG BASE
FROM ${BASE} AS builder
ARG FILES
ARG SIZE
RUN python3 -c "import os; [(os.makedirs(f'/out/{i//500}', exist_ok=True), open(f'/out/{i//500}/{i}', 'w').write((f'file {i} ' * ${SIZE})[:${SIZE}])) for i in range(${FILES})]" && chmod 600 /out/0/2
FROM ${BASE} AS final
COPY --from=builder /out /out
FROM final AS later
RUN grep -q "file 0 " /out/0/0 && printf later >>/out/0/0 && rm /out/0/1 && chmod 644 /out/0/2
FROM builder AS again
RUN ! grep -q later /out/0/0 && printf XXXXXX | dd of=/out/0/0 conv=notrunc 2>/dev/null && test -e /out/0/1
FROM final AS last
RUN ! grep -q -e later -e XXXXXX /out/0/0 && printf last >/out/0/last
`

// What one stage copies from another is stored once, and the stages are what
// they are without that.
func TestCopyBetweenStagesIsStoredOnce(t *testing.T) {
	for _, test := range []struct{ filesystem, kind string }{{"ext4", ladleOnOCI}, {"xfs", ladleOnOCI}, {"xfs", onOCI}} {
		t.Run(test.filesystem+"/"+test.kind, func(t *testing.T) {
			t.Parallel() // each has daemons and a disk of its own
			files := copiedFiles
			if text := os.Getenv("LADLE_COPIED_FILES"); text != "" {
				var err error
				if files, err = strconv.Atoi(text); err != nil {
					t.Fatal(err)
				}
			}
			size := int64(files) * copiedSize
			at := newFilesystem(t, test.filesystem, 4*size+1<<30)
			l := newLab(t, labOptions{kinds: []string{test.kind, onOverlayfs}, root: at})
			s := stages{l, test.kind, l.project(map[string]string{"Dockerfile": copying}), files}
			s.build("builder", "")
			uppers := s.copies(at, 1)
			source := s.listing(uppers[0])
			before := usedBytes(t, at)
			began := time.Now()
			s.build("final", "")
			t.Logf("copied in %.1f s", time.Since(began).Seconds())
			var grown int64
			for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
				s.collect()
				if grown = usedBytes(t, at) - before; grown <= size*3/100 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the disk has grown by %d bytes for %d that were copied", grown, size)
				}
			}
			t.Logf("settled %.1f s after the build began; the disk has grown by %.2f %%", time.Since(began).Seconds(), 100*float64(grown)/float64(size))
			s.same(source, s.listing(uppers[0]))
			for _, target := range []string{"later", "again", "last"} {
				s.build(target, "")
			}
			for _, upper := range s.copies(at, 2)[:2] {
				s.same(source, s.listing(upper))
			}
			if files > copiedFiles {
				return // to compress all that takes long
			}
			for _, target := range []string{"final", "again", "last"} {
				ref := s.build(target, target)
				want := stages{l, onOverlayfs, s.dir, files}.build(target, target)
				if got, want := l.chain(ref), l.chain(want); !slices.Equal(got, want) {
					t.Errorf("%s has the layers\n%s\non overlayfs\n%s", target, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

// stages are builds of one Dockerfile on one worker.
type stages struct {
	lab
	kind, dir string
	files     int
}

// build builds a stage and pushes it as name, unless that is "".
func (s stages) build(target, name string) (ref string) {
	s.Helper()
	args := s.args()
	args["FILES"], args["SIZE"] = strconv.Itoa(s.files), strconv.Itoa(copiedSize)
	b := worker.Build{Dir: s.dir, Args: args, Flags: []string{"--opt", "target=" + target}}
	if name != "" {
		ref = fmt.Sprintf("%s/%s:%s", s.Link.Addr(), name, s.kind)
		b.Output = "type=image,push=true,store=false,rewrite-timestamp=true,name=" + ref
	}
	if _, err := s.workers[s.kind].Build(s.Context(), b); err != nil {
		s.Fatal(err)
	}
	return ref
}

// collect makes BuildKit give back the views that no build has any more, as it
// does once a minute where its garbage collection is not switched off.
func (s stages) collect() {
	s.Helper()
	if _, err := s.workers[s.kind].Buildctl(s.Context(), "prune", "--keep-duration", "24h"); err != nil {
		s.Fatal(err)
	}
}

// copies are the directories of ladle, the oldest first, that have all files of
// a stage. There are at least so many.
func (s stages) copies(root string, least int) (dirs []string) {
	s.Helper()
	all, err := filepath.Glob(filepath.Join(root, "e", "*", "snapshots", "*", "fs", "out"))
	if err != nil {
		s.Fatal(err)
	}
	for _, dir := range all {
		if entries, err := os.ReadDir(filepath.Join(dir, "0")); err == nil && len(entries) >= min(s.files, 500) {
			dirs = append(dirs, dir)
		}
	}
	number := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(dir))))
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return number(a) - number(b) })
	if len(dirs) < least {
		s.Fatalf("%d directories have the files, want %d: %v", len(dirs), least, all)
	}
	return dirs
}

// isMark reports whether an extended attribute is overlayfs's own: with xino=on a
// directory that a step makes is opaque, and one that is made of links is not.
func isMark(xattr string) bool {
	return strings.HasPrefix(xattr, "trusted.overlay.") || strings.HasPrefix(xattr, "user.overlay.")
}

// listing describes the entries of a directory but for their inodes and overlayfs's
// marks, and has the start of each file.
func (s stages) listing(dir string) (lines []string) {
	s.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		names := make([]byte, 64<<10) // XATTR_LIST_MAX
		n, err := unix.Llistxattr(path, names)
		if err != nil {
			return err
		}
		xattrs := slices.DeleteFunc(strings.Split(string(names[:n]), "\x00"), isMark)
		rel, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%s mode %o owner %d:%d size %d time %d.%09d xattrs %q", rel, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim.Sec, st.Mtim.Nsec, xattrs)
		if e.Type().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			start := make([]byte, 16)
			if _, err := f.Read(start); err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", start)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return lines
}

// same compares listings.
func (s stages) same(want, got []string) {
	s.Helper()
	if len(want) != len(got) {
		s.Errorf("%d entries, want %d", len(got), len(want))
		return
	}
	for i := range want {
		if want[i] != got[i] {
			s.Errorf("-%s\n+%s", want[i], got[i])
			return
		}
	}
}

// newFilesystem is a mounted filesystem of a kind, on a loop device.
func newFilesystem(t *testing.T, kind string, size int64) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ladle-fs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	write(t, image, "")
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at, 0o711); err != nil {
		t.Fatal(err)
	}
	system(t, "mkfs."+kind, "-q", image)
	system(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { system(t, "umount", at) })
	return at
}

func system(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// usedBytes is how much of a filesystem is in use.
func usedBytes(t *testing.T, path string) int64 {
	t.Helper()
	system(t, "sync", "-f", path)
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}
