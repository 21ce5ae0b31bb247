package image

import (
	"archive/tar"
	"strings"
)

// whiteoutsAtEveryDepth is four layers over a tree of six levels:
// a full tree; whiteouts and opaque markers on each level; things that come
// back with another type; and deletions of what came back.
func whiteoutsAtEveryDepth() []Layer {
	var full, marked, back, again []tar.Header
	text := map[string]string{}
	file := func(list *[]tar.Header, name, content string) {
		*list = append(*list, reg(name, 0o644, 0))
		text[name] = content
	}
	level := "whiteouts"
	for range 6 {
		for _, list := range []*[]tar.Header{&full, &marked, &back, &again} {
			*list = append(*list, dir(level, 0o755))
		}
		for _, name := range []string{"stays", "goes", "becomes dir", "opaque/hidden", "opaque/replaced", "tree/a/b/file"} {
			for _, parent := range parentNames(level, name) {
				full = append(full, dir(parent, 0o755))
			}
			file(&full, level+"/"+name, "first layer\n")
		}
		marked = append(marked, whiteout(level+"/goes"), whiteout(level+"/never was"), whiteout(level+"/tree"),
			whiteout(level+"/becomes dir"), dir(level+"/opaque", 0o700))
		file(&marked, level+"/opaque/replacement", "second layer\n")
		marked = append(marked, opaque(level+"/opaque"), dir(level+"/empty opaque", 0o755), opaque(level+"/empty opaque"))
		back = append(back, dir(level+"/goes", 0o755), dir(level+"/becomes dir", 0o755))
		file(&back, level+"/goes/inside", "third layer\n")
		file(&back, level+"/becomes dir/inside", "third layer\n")
		file(&back, level+"/tree", "a file now\n")
		again = append(again, whiteout(level+"/tree"), dir(level+"/goes", 0o755), whiteout(level+"/goes/inside"))
		level += "/below"
	}
	return []Layer{entries(text, full...), entries(text, marked...), entries(text, back...), entries(text, again...)}
}

// parentNames is the directories between level and level/name, top first.
func parentNames(level, name string) []string {
	var parents []string
	for i, c := range name {
		if c == '/' {
			parents = append(parents, level+"/"+name[:i])
		}
	}
	return parents
}

// escapingNames names things outside of the root. They belong inside it: a
// leading slash or ".." stays at the root.
func escapingNames(w *tar.Writer) error {
	up := strings.Repeat("../", 12)
	text := map[string]string{
		up + "escape-up":                      "one\n",
		"/escape-absolute":                    "two\n",
		"escape/../../escape-dots":            "three\n",
		"./escape/./dot":                      "four\n",
		"escape//slashes///here":              "five\n",
		"escape/target":                       "six\n",
		"/" + up + "tmp/ladle-escaped":        "seven\n",
		"escape/sub/../../escape/also-hidden": "eight\n",
	}
	headers := []tar.Header{dir("escape", 0o755), dir("escape/sub", 0o755), dir("escape//slashes///", 0o755)}
	for _, name := range []string{
		up + "escape-up", "/escape-absolute", "escape/../../escape-dots", "./escape/./dot", "escape//slashes///here",
		"escape/target", "/" + up + "tmp/ladle-escaped", "escape/sub/../../escape/also-hidden",
	} {
		headers = append(headers, reg(name, 0o644, 0))
	}
	headers = append(headers,
		hardlink("escape/hard-absolute", reg("/escape/target", 0o644, 0)),
		hardlink("escape/hard-up", reg(up+"escape/target", 0o644, 0)),
		symlink("escape/to-etc", "/etc"), symlink("escape/to-host", up+"etc/passwd"), symlink("escape/to-root", "/"))
	return entries(text, headers...)(w)
}

// throughLink writes a file below a symbolic link that points out of the root.
// What the container sees is not defined; that the host's /tmp stays as it is, is.
func throughLink(w *tar.Writer) error {
	text := map[string]string{
		"through/link/ladle-escaped":        "written through a link\n",
		"through/up/ladle-escaped-relative": "written through a link\n",
	}
	return entries(text, dir("through", 0o755),
		symlink("through/link", "/tmp"), reg("through/link/ladle-escaped", 0o644, 0),
		symlink("through/up", strings.Repeat("../", 12)+"tmp"), reg("through/up/ladle-escaped-relative", 0o644, 0))(w)
}

// withParents and withoutParents: the upper layer says nothing about the
// directories, so they keep the mode and time that the lower one gave them.
func withParents(w *tar.Writer) error {
	return entries(nil, dir("parents", 0o750), dir("parents/sub", 0o700), reg("parents/sub/lower", 0o600, 0))(w)
}

func withoutParents(w *tar.Writer) error {
	return entries(map[string]string{"parents/sub/upper": "upper\n", "parents/new/deep/upper": "upper\n"},
		reg("parents/sub/upper", 0o644, 0), reg("parents/new/deep/upper", 0o644, 0))(w)
}

// unmarked and marked are two layers, the upper one with what overlayfs writes to
// its own upper directories: its marks for mounts with and without userxattr.
func unmarked(w *tar.Writer) error {
	return entries(map[string]string{"marks/file": "lower\n", "marks/opaque/lower": "lower\n", "marks/elsewhere/moved": "lower\n"},
		dir("marks", 0o755), reg("marks/file", 0o644, 0), dir("marks/opaque", 0o755), reg("marks/opaque/lower", 0o644, 0),
		dir("marks/elsewhere", 0o755), reg("marks/elsewhere/moved", 0o644, 0))(w)
}

func marked(w *tar.Writer) error {
	both := func(h tar.Header, mark, value string) tar.Header {
		return withXattr(withXattr(h, "user.overlay."+mark, value), "trusted.overlay."+mark, value)
	}
	return entries(map[string]string{"marks/file": "upper\n", "marks/opaque/upper": "upper\n"},
		both(both(reg("marks/file", 0o644, 0), "metacopy", ""), "redirect", "/marks/elsewhere/moved"),
		both(dir("marks/opaque", 0o755), "opaque", "y"), reg("marks/opaque/upper", 0o644, 0),
		both(dir("marks/redirected", 0o755), "redirect", "/marks/elsewhere"))(w)
}
