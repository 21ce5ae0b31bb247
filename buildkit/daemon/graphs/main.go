package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "graphs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		for _, name := range slices.Sorted(maps.Keys(graphs)) {
			fmt.Println(name)
		}
		return nil
	}
	s := sources{}
	for _, arg := range args[1:] {
		name, ref, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not SOURCE=REF", arg)
		}
		s[name] = ref
	}
	state, err := s.state(args[0])
	if err != nil {
		return err
	}
	definition, err := state.Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return err
	}
	return llb.WriteTo(definition, os.Stdout)
}

// state returns the result of the graph name.
func (s sources) state(name string) (llb.State, error) {
	if graph, ok := graphs[name]; ok {
		return s.shown(graph(s)), nil
	}
	if graph, ok := runs[name]; ok {
		return graph(s).Run(llb.Shlex("python3 -c 'print(1)'")).Root(), nil
	}
	if graph, ok := walks[name]; ok {
		return s.image("tools").Run(llb.Shlex("sh -c 'ls -R /x >/dev/null'"), llb.AddMount("/x", graph(s), unread)).Root(), nil
	}
	return llb.State{}, fmt.Errorf("no graph %q", name)
}

// unread is for mounts: without it BuildKit reads the whole mount for the key of its
// cache.
var unread = llb.ContentCache(llb.MountContentCacheOff)

// sources are image references by name.
type sources map[string]string

func (s sources) image(name string) llb.State { return llb.Image(s[name]) }

// in runs a command in the image "tools", in the state mounted at /x. The files that it
// changes there get the same time in every run.
func (s sources) in(command string, options ...llb.RunOption) llb.ExecState {
	if os.Getenv("GRAPHS_ROOTLESS") != "" {
		command = setuid.ReplaceAllString(device.ReplaceAllString(command, "mkfifo $1"), "chmod 0$1")
	}
	script := "touch /began; sleep 0.01\n" + command + "\nfind /x -newer /began -exec touch -h -d @" + changed + " {} +"
	return s.image("tools").Run(append(options, llb.Args([]string{"sh", "-euc", script}), llb.Dir("/x"))...)
}

// Commands with other results in a user namespace: mknod of a device fails, and a write
// clears the set-id bits, even by root (Linux 6.18, fs/attr.c,
// setattr_should_drop_suidgid). With GRAPHS_ROOTLESS in the environment they are replaced
// by pipes and by modes without set-id bits.
var (
	device = regexp.MustCompile(`mknod (\S+) [bc] \d+ \d+`)
	setuid = regexp.MustCompile(`chmod 4(\d{3})`)
)

// changed is the time of changed files, in seconds since 1970.
const changed = "1700000000"

// edit is a state after a command that ran in it as working directory.
func (s sources) edit(on llb.State, command string) llb.State {
	return s.in(command).AddMount("/x", on, unread)
}

// made is a layer of what a command makes in an empty directory.
func (s sources) made(command string) llb.State { return s.edit(llb.Scratch(), command) }

// shown returns the state with further changes and a listing of it: see doc.go.
func (s sources) shown(of llb.State) llb.State {
	exec := s.in("python3 -c \"$LISTING\" >/out/listing && touch -d @"+changed+" /out/listing /out\n"+changes, llb.AddEnv("LISTING", listing), llb.AddEnv("PYTHONDONTWRITEBYTECODE", "1"))
	out := exec.AddMount("/out", llb.Scratch())
	return llb.Merge([]llb.State{exec.AddMount("/x", of, unread), out})
}

// changes is a script that runs on every graph.
const changes = `
mkdir -p etc new/dir && echo new >new/dir/file && echo more >>etc/more
rm -rf gone usr/share/doc/bash
for f in *; do test ! -f "$f" || { echo changed >>"$f"; break; }; done
`

// listing prints a line for each file of the working directory. It reads only small files
// and those in directories that the graphs change: reading all would take long.
const listing = `
import hashlib, os, stat
inodes = {}
def line(path):
    s = os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    size = s.st_size if kind != stat.S_IFDIR else 0
    what = ''
    if kind == stat.S_IFLNK:
        what = os.readlink(path)
    elif kind == stat.S_IFREG and s.st_size < 100000 and not path.startswith(('./usr/lib', './usr/share', './var')):
        what = hashlib.sha256(open(path, 'rb').read()).hexdigest()[:16]
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        what = s.st_rdev
    xattrs = {}
    for x in os.listxattr(path, follow_symlinks=False):
        xattrs[x] = os.getxattr(path, x, follow_symlinks=False)
    first = inodes.setdefault((s.st_dev, s.st_ino), path)
    if first != path:
        what = '%s linked to %s' % (what, first)
    print(path, oct(s.st_mode), s.st_uid, s.st_gid, size, s.st_mtime_ns if path != '.' else 'made', what, sorted(xattrs.items()))
for dir, dirs, files in os.walk('.'):
    dirs.sort()
    line(dir)
    for f in sorted(files + [d for d in dirs if os.path.islink(dir + '/' + d)]):
        line(dir + '/' + f)
`
