package main

import (
	"fmt"

	"github.com/moby/buildkit/client/llb"
)

func merge(states ...llb.State) llb.State { return llb.Merge(states) }

// graphs are all graphs by name.
var graphs = map[string]func(s sources) llb.State{
	"merge-lazy":       func(s sources) llb.State { return merge(s.image("base"), s.image("other")) },
	"merge-lazy-below": func(s sources) llb.State { return merge(s.image("other"), s.image("base")) },
	"merge-lazy-twice": func(s sources) llb.State { return merge(s.image("base"), s.image("small"), s.image("base")) },
	"merge-local-lazy": func(s sources) llb.State { return merge(s.made(tree), s.image("base")) },
	"merge-local": func(s sources) llb.State {
		return merge(s.made(tree), s.made("mkdir -m 0711 dir && echo two >dir/two && echo other >file && ln -s file gone"))
	},
	"merge-attributes": func(s sources) llb.State {
		all := []llb.State{s.image("small")}
		for i := range 3 {
			all = append(all, s.made(fmt.Sprintf("mkdir -p -m 071%d dir/sub etc && echo %d >dir/sub/%d && "+
				"python3 -c \"import os; [os.setxattr(d, 'user.%d', b'1') for d in ('dir', 'etc')]; os.setxattr('dir/sub', 'user.both', b'%d')\"", i, i, i, i, i)))
			all = append(all, s.image("base"))
		}
		return merge(all[:6]...)
	},
	"merge-deep": func(s sources) llb.State {
		all := []llb.State{s.image("small")}
		from := s.made("for i in $(seq 25); do mkdir -p $i/dir && echo $i >$i/dir/$i && echo $i >$i/last && chmod 750 $i/dir; done")
		for i := range 25 {
			all = append(all, llb.Scratch().File(llb.Copy(from, fmt.Sprint("/", i+1), "/", &llb.CopyInfo{CopyDirContentsOnly: true})))
		}
		return merge(all...)
	},
	"diff-lazy":          func(s sources) llb.State { return llb.Diff(s.image("below"), s.image("base")) },
	"diff-lazy-on-lower": func(s sources) llb.State { return merge(s.image("below"), llb.Diff(s.image("below"), s.image("base"))) },
	"diff-lazy-on-other": func(s sources) llb.State { return merge(s.image("other"), llb.Diff(s.image("below"), s.image("base"))) },
	"diff-lazy-two-layers": func(s sources) llb.State {
		return merge(s.image("small"), llb.Diff(s.image("lowest"), s.image("base")))
	},
	"diff-unrelated":    func(s sources) llb.State { return llb.Diff(s.image("base"), s.image("other")) },
	"diff-unrelated-on": func(s sources) llb.State { return merge(s.image("base"), llb.Diff(s.image("base"), s.image("other"))) },
	"diff-of-nothing":   func(s sources) llb.State { return merge(s.image("small"), llb.Diff(s.image("small"), llb.Scratch())) },
	"diff-of-same":      func(s sources) llb.State { return merge(s.made(tree), llb.Diff(s.image("base"), s.image("base"))) },
	"diff-local": func(s sources) llb.State {
		return s.moved("base", "rm -r etc/apt && echo changed >>etc/passwd && mkdir etc/new && echo new >etc/new/file")
	},
	"diff-of-merge": func(s sources) llb.State {
		merged := merge(s.image("base"), s.made(tree))
		return merge(s.image("other"), llb.Diff(merged, s.edit(merged, "rm -r dir/sub && echo changed >>file && rm -r etc/apt")))
	},
	"diff-of-merges": func(s sources) llb.State {
		first := merge(s.image("base"), s.made(tree))
		second := s.made("mkdir dir && echo two >dir/two && echo other >file && python3 -c \"import os; os.setxattr('dir', 'user.second', b'1')\"")
		return merge(s.image("small"), llb.Diff(first, merge(first, second)))
	},
	"merge-of-diffs": func(s sources) llb.State {
		one := s.edit(s.image("base"), "rm -r etc/apt usr/share/doc && chmod 0700 opt")
		two := s.edit(one, "mkdir usr/share/doc && echo back >usr/share/doc/back && mv etc/pam.d etc/renamed")
		return merge(s.image("other"), llb.Diff(one, two), llb.Diff(s.image("base"), one), llb.Diff(one, two))
	},
	"merge-on-merge": func(s sources) llb.State {
		state := s.image("base")
		for i := range 4 {
			state = merge(state, s.made(fmt.Sprintf("mkdir -p dir && echo %d >dir/%d && echo %d >last", i, i, i)))
			state = s.edit(state, fmt.Sprintf("rm dir/%d && echo changed >dir/by-%d && chmod 07%d0 dir", i, i, i))
		}
		return state
	},
}

// runs are graphs in which a program runs.
var runs = map[string]func(s sources) llb.State{
	"run-merge": func(s sources) llb.State { return merge(s.image("lowest"), s.image("base")) },
	"run-merge-diff": func(s sources) llb.State {
		return merge(s.image("lowest"), llb.Diff(s.image("lowest"), s.image("base")))
	},
	"run-merge-wide": func(s sources) llb.State { return merge(s.image("base"), s.image("wide")) },
}

// walks are graphs in which nothing reads file contents.
var walks = map[string]func(s sources) llb.State{
	"walk-merge":          func(s sources) llb.State { return merge(s.image("base"), s.image("other")) },
	"walk-wide":           func(s sources) llb.State { return merge(s.image("base"), s.image("wide")) },
	"walk-diff-parent":    func(s sources) llb.State { return llb.Diff(s.image("below"), s.image("base")) },
	"walk-diff-ancestor":  func(s sources) llb.State { return llb.Diff(s.image("lowest"), s.image("base")) },
	"walk-diff-unrelated": func(s sources) llb.State { return llb.Diff(s.image("base"), s.image("other")) },
	"walk-merge-diff": func(s sources) llb.State {
		return merge(s.image("other"), llb.Diff(s.image("below"), s.image("base")), llb.Diff(s.image("base"), s.image("other")))
	},
	"walk-base":     func(s sources) llb.State { return s.image("base") },
	"walk-other":    func(s sources) llb.State { return s.image("other") },
	"walk-all-wide": func(s sources) llb.State { return s.image("wide") },
}

func init() {
	for name, script := range local {
		graphs["change-"+name] = func(s sources) llb.State { return s.moved("base", script) }
		graphs["local-"+name] = func(s sources) llb.State {
			lower := s.made(tree)
			return merge(s.image("small"), s.made(neighbour), llb.Diff(lower, s.edit(lower, "cd dir/.. && "+onTree[name])))
		}
	}
}

// moved returns the changes of a script to an image, as a diff on two other states:
// "other", which has some of the files, and a tree that has none.
func (s sources) moved(image, script string) llb.State {
	lower := s.image(image)
	diff := llb.Diff(lower, s.edit(lower, script))
	return merge(s.made(tree), s.image("other"), diff)
}

// tree is a script that creates files of every type. neighbour creates another tree with
// some of the names.
const (
	tree = `umask 022
mkdir -p dir/sub/deep gone empty && echo one >file && echo one >dir/file && echo two >dir/sub/file && echo three >dir/sub/deep/file && echo gone >gone/file
ln dir/file dir/same && ln -s dir/file symlink && ln -s dir to-dir && mkfifo fifo && mknod null c 1 3 && chmod 4755 file && chmod 1777 empty && chown 5:6 dir/sub
python3 -c "import os; os.setxattr('dir', 'user.dir', b'1'); os.setxattr('dir/file', 'user.file', b'2')"
`
	neighbour = `mkdir -m 0700 -p dir/sub && echo other >dir/sub/other && echo other >dir/other && echo other >file && mkdir symlink && echo x >symlink/x && mkdir -m 0711 gone && echo kept >gone/kept`
)
