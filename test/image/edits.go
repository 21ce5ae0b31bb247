package image

import (
	"archive/tar"
	"strings"
)

// edits is a layer over a Debian or Ubuntu root filesystem with every kind of
// change that a layer can make. What it holds:
//
//	usr/share/doc/bash            directory deleted
//	etc/issue.net                 file deleted
//	usr/share/doc/tar             directory replaced by a file
//	etc/issue                     file replaced by a directory
//	etc/cron.daily                made opaque, one new file
//	opt/edits/python3             a copy of the interpreter, and two hard
//	                              links to it in other directories
//	usr/local/bin/cap-cat         cat with file capabilities
//	opt/edits/...                 user xattrs, setuid, fifo, device, links
func edits(below *tree) (Layer, error) {
	for _, name := range []string{"usr/share/doc/bash", "etc/issue.net", "usr/share/doc/tar", "etc/issue", "etc/cron.daily"} {
		if _, err := below.get(name); err != nil {
			return nil, err
		}
	}
	cat, err := below.get("usr/bin/cat")
	if err != nil {
		return nil, err
	}
	interpreter, err := pythonProgram(below)
	if err != nil {
		return nil, err
	}
	parents := parentsOf(below, "etc/cron.daily/only", "usr/share/doc/bash", "usr/local/bin/cap-cat", "opt/edits", "srv/py")
	return func(w *tar.Writer) error {
		for _, h := range parents {
			if err := put(w, h, ""); err != nil {
				return err
			}
		}
		if err := editTree()(w); err != nil {
			return err
		}
		capable := withXattr(reg("usr/local/bin/cap-cat", 0o755, cat.header.Size), "security.capability", netBind)
		if err := putFrom(w, capable, below.content(cat)); err != nil {
			return err
		}
		copied := reg("opt/edits/python3", 0o755, interpreter.header.Size)
		if err := putFrom(w, copied, below.content(interpreter)); err != nil {
			return err
		}
		return entries(nil, hardlink("srv/py", copied), hardlink("usr/local/bin/py", copied))(w)
	}, nil
}

// netBind is the value of security.capability (struct vfs_cap_data, revision 2,
// effective) that grants CAP_NET_BIND_SERVICE.
const netBind = "\x01\x00\x00\x02" + "\x00\x04\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// editTree is the part of the edits that copies nothing from below.
func editTree() Layer {
	text := map[string]string{
		"usr/share/doc/tar":        "was a directory\n",
		"etc/issue/text":           "was a file\n",
		"etc/cron.daily/only":      "#!/bin/sh\n",
		"opt/edits/xattrs":         "has attributes\n",
		"opt/edits/setuid":         "#!/bin/sh\nid\n",
		"opt/edits/large":          strings.Repeat("0123456789abcdef", 700_000),
		"opt/edits/sub/dir/secret": "0600\n",
	}
	attributes := reg("opt/edits/xattrs", 0o644, 0)
	attributes = withXattr(attributes, "user.ladle.text", "one")
	attributes = withXattr(attributes, "user.ladle.binary", "\x00\x01\n\xff")
	attributes = withXattr(attributes, "user.ladle.long", strings.Repeat("x", 2000))
	owned := reg("opt/edits/sub/dir/secret", 0o600, 0)
	owned.Uid, owned.Gid = 100_000, 65_534
	fifo := tar.Header{Typeflag: tar.TypeFifo, Name: "opt/edits/fifo", Mode: 0o640, ModTime: epoch}
	null := tar.Header{Typeflag: tar.TypeChar, Name: "opt/edits/null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch}
	return entries(text,
		whiteout("usr/share/doc/bash"), whiteout("etc/issue.net"),
		reg("usr/share/doc/tar", 0o644, 0),
		dir("etc/issue", 0o755), reg("etc/issue/text", 0o644, 0),
		opaque("etc/cron.daily"), reg("etc/cron.daily/only", 0o755, 0),
		withXattr(dir("opt/edits", 0o755), "user.ladle.dir", "yes"),
		attributes, reg("opt/edits/setuid", 0o4755, 0), reg("opt/edits/empty", 0o644, 0), reg("opt/edits/large", 0o644, 0),
		dir("opt/edits/sub", 0o1777), dir("opt/edits/sub/dir", 0o750), owned, fifo, null,
		symlink("opt/edits/absolute", "/etc/passwd"), symlink("opt/edits/dangling", "no/such/file"),
		symlink("opt/edits/up", "../../../../../etc/passwd"),
	)
}

// pythonProgram is the file that usr/bin/python3 points to.
func pythonProgram(t *tree) (*node, error) {
	link, err := t.get("usr/bin/python3")
	if err != nil {
		return nil, err
	}
	return t.get("usr/bin/" + link.header.Linkname)
}

// parentsOf is the parent directories of names, as they are below, top first.
func parentsOf(t *tree, names ...string) []tar.Header {
	var headers []tar.Header
	seen := map[string]bool{}
	for _, name := range names {
		parts := strings.Split(name, "/")
		for i := 1; i < len(parts); i++ {
			p := strings.Join(parts[:i], "/")
			n := t.nodes[p]
			if seen[p] || n == nil {
				continue
			}
			seen[p] = true
			h := n.header
			h.Name = p + "/"
			headers = append(headers, h)
		}
	}
	return headers
}
