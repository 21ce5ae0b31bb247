package tree_test

import (
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// trap is a case in which a stack is easily not what BuildKit makes. Trees are
// layers, merged; a diff is its entries: "d/" a directory, "-f" a whiteout.
type trap struct {
	name         string
	lower, added []at // the layers of lower, and those that upper has besides
	upper        []at // the layers of upper, if not those
	below        at   // what the diff is stacked on
	want         string
}

// at has the entries of a layer by path. Directories on the way are made.
type at map[string]*tree.Inode

func (a at) tree() *tree.Inode {
	root := tree.NewDir(0o755)
	var dir func(p string) *tree.Inode
	dir = func(p string) *tree.Inode {
		if p == "." {
			return root
		}
		in := dir(path.Dir(p))
		d := in.Dir.Lookup(path.Base(p))
		if d == nil {
			if d = a[p]; d == nil {
				d = tree.NewDir(0o755)
			}
			in.Dir.Add(path.Base(p), d)
		}
		return d
	}
	for p, i := range a {
		if i.IsDir() {
			dir(p)
		} else {
			dir(path.Dir(p)).Dir.Add(path.Base(p), i)
		}
	}
	return root
}

func merged(layers []at) *tree.Inode {
	roots := make([]*tree.Inode, len(layers))
	for i, l := range layers {
		roots[i] = l.tree()
	}
	return tree.Merge(roots...)
}

// content is a file of five bytes with content number n.
func content(n int64) *tree.Inode {
	return &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 5, Data: tree.Extent{Offset: n * tree.BlockSize}}
}

func with(i *tree.Inode, change func(i *tree.Inode)) *tree.Inode { change(i); return i }

func opaque(perm uint32) *tree.Inode {
	return with(tree.NewDir(perm), func(i *tree.Inode) { i.Dir.Opaque = true })
}

func gone() *tree.Inode { return tree.NewWhiteout() }

func link(target string) *tree.Inode {
	return &tree.Inode{Mode: unix.S_IFLNK | 0o777, Target: target}
}

func of(mode uint32) *tree.Inode { return &tree.Inode{Mode: mode} }

func traps() []trap {
	nsec := func(i *tree.Inode) { i.Mtime.Nsec = 1 }
	capable := func(i *tree.Inode) {
		i.Xattrs = map[string]string{"security.capability": "\x01\x00\x00\x02\x01" + strings.Repeat("\x00", 15)}
	}
	attribute := func(i *tree.Inode) { i.Xattrs = map[string]string{"user.x": "x"} }
	linked, sockets := content(1), of(unix.S_IFSOCK|0o600)
	return []trap{
		{name: "opaque on new dirs", added: []at{{"d": opaque(0o700), "d/b": content(0)}}, below: at{"d/a": content(1)}, want: "d/ d/b"},
		{
			name: "opaque on dirs that exist", lower: []at{{"d/a": content(0), "d/s/x": content(0)}},
			added: []at{{"d": opaque(0o755), "d/b": content(0)}},
			below: at{"d/a": content(0), "d/s/y": content(0), "d/c": content(1)}, want: "d/ -d/a d/b -d/s",
		},
		{
			name: "opaque with what was there", lower: []at{{"d/a": content(0)}}, added: []at{{"d": opaque(0o755), "d/a": content(0)}},
			below: at{"d/c": content(1)}, want: "",
		},
		{
			name: "unmodified copy-ups", lower: []at{{"d": tree.NewDir(0o700), "d/a": content(0), "l": link("to")}},
			added: []at{{"d": tree.NewDir(0o700), "d/a": content(0), "l": link("to")}},
			below: at{"d": tree.NewDir(0o711), "d/a": content(1)}, want: "",
		},
		{name: "whiteouts of nothing", added: []at{{"a": gone(), "d/b": gone()}}, below: at{"a": content(0), "d/b": content(0)}, want: "d/"},
		{name: "whiteouts", lower: []at{{"a": content(0), "d/b": content(0)}}, added: []at{{"a": gone(), "d": gone()}}, below: at{"a/x": content(0), "d/c": content(0)}, want: "-a -d"},
		{
			name: "file to dir replacement", lower: []at{{"x": content(0)}}, added: []at{{"x": opaque(0o700), "x/a": content(0)}},
			below: at{"x/b": content(1)}, want: "x/ x/a",
		},
		{
			name: "file to dir replacement over a file", lower: []at{{"x": content(0)}}, added: []at{{"x": tree.NewDir(0o700), "x/a": content(0)}},
			below: at{"x": content(1)}, want: "x/ x/a",
		},
		{name: "dir to file replacement", lower: []at{{"x/a": content(0)}}, added: []at{{"x": content(0)}}, below: at{"x/b": content(1)}, want: "x"},
		{
			name: "dir removed and made again", lower: []at{{"d/a": content(0)}}, added: []at{{"d": gone()}, {"d": tree.NewDir(0o755)}},
			below: at{"d/a": content(0), "d/b": content(0)}, want: "d/ -d/a",
		},
		{name: "deletes inside absent dir", lower: []at{{"d/s/a": content(0)}}, added: []at{{"d/s/a": gone()}}, want: "d/ d/s/ -d/s/a"},
		{name: "root dir", added: []at{{}}, below: at{"a": content(0)}, want: ""},
		{
			name: "parent metadata", lower: []at{{"d": tree.NewDir(0o700), "d/a": content(0)}}, added: []at{{"d": tree.NewDir(0o711), "d/a": content(1)}},
			below: at{"d": tree.NewDir(0o722), "d/a": content(0), "d/b": content(0)}, want: "d/ d/a",
		},
		{
			name: "dir of which only the time differs", lower: []at{{"d": tree.NewDir(0o700)}},
			added: []at{{"d": with(tree.NewDir(0o700), func(i *tree.Inode) { i.Mtime.Sec = 7 })}}, want: "",
		},
		{name: "content", lower: []at{{"a": content(0)}}, added: []at{{"a": content(1)}}, want: "a"},
		{name: "content within a second", lower: []at{{"a": with(content(0), nsec)}}, added: []at{{"a": with(content(1), nsec)}}, want: ""},
		{name: "time within a second", lower: []at{{"a": content(0)}}, added: []at{{"a": with(content(0), nsec)}}, want: "a"},
		{name: "security.capability", lower: []at{{"a": content(0)}}, added: []at{{"a": with(content(0), capable)}}, want: "a"},
		{name: "other attributes", lower: []at{{"a": content(0)}}, added: []at{{"a": with(content(0), attribute)}}, want: ""},
		{
			name: "owner", lower: []at{{"a": content(0)}},
			added: []at{{"a": with(content(0), func(i *tree.Inode) { i.UID = 1 })}, {"d": tree.NewDir(0o755)}}, want: "a d/",
		},
		{name: "hardlinks", lower: []at{{"a": content(1)}}, added: []at{{"a": linked, "b": linked, "c": linked}}, want: "b c"},
		{name: "fifo and socket", added: []at{{"f": of(unix.S_IFIFO | 0o600), "s": sockets, "t": sockets}}, want: "f s t"},
		{
			name: "layers apart", lower: []at{{"a": content(0), "b": content(0)}}, upper: []at{{"b": content(0)}, {"c": content(1)}},
			below: at{"a": content(1), "b": content(1)}, want: "-a c",
		},
	}
}

// TestTraps takes the table of what a stack has to do for BuildKit's results.
func TestTraps(t *testing.T) {
	for _, trap := range traps() {
		t.Run(trap.name, func(t *testing.T) {
			if trap.upper == nil {
				trap.upper = append(trap.lower[:len(trap.lower):len(trap.lower)], trap.added...)
			}
			lower, upper := merged(trap.lower), merged(trap.upper)
			upper.Mode, upper.Xattrs = unix.S_IFDIR|0o700, map[string]string{"user.x": "x"}
			c := newDiffCase(t, trap.below.tree())
			c.add(lower, upper)
			c.check()
			diff := tree.Diff(lower, upper, sameData)
			if got := entries(diff); got != trap.want {
				t.Errorf("the diff is %q, want %q", got, trap.want)
			}
			if diff.Mode != unix.S_IFDIR|0o755 || len(diff.Xattrs) > 0 {
				t.Errorf("its root is %+v", diff)
			}
		})
	}
}

func entries(root *tree.Inode) string {
	var all []string
	_ = tree.Walk(root, func(path string, i *tree.Inode) error {
		switch {
		case path == "":
		case i.IsDir():
			all = append(all, path+"/")
		case i.IsWhiteout():
			all = append(all, "-"+path)
		default:
			all = append(all, path)
		}
		return nil
	})
	return strings.Join(all, " ")
}

// TestDiffUnknownContent: what is not known to be the same differs.
func TestDiffUnknownContent(t *testing.T) {
	lower, upper := merged([]at{{"a": content(0)}}), merged([]at{{"a": content(0)}})
	unknown := func(_, _ *tree.Inode) bool { return false }
	if got := entries(tree.Diff(lower, upper, unknown)); got != "a" {
		t.Errorf("%q", got)
	}
}
