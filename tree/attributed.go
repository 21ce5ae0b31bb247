package tree

import "strings"

// AttributedXattr is an extended attribute of the root of a difference (Diff). Its value
// lists the directories of the tree with extended attributes other than marks of overlayfs,
// so that a merge need not walk the tree to find them. The attribute is Ladle's own;
// overlayfs does not show names with its prefix.
const AttributedXattr = "trusted.overlay.ladle.attributed"

// maxAttributed is in bytes. Linux takes 64 KiB.
const maxAttributed = 32 << 10

// NoteAttributed gives root the attribute AttributedXattr, unless its value
// would be too long.
func NoteAttributed(root *Inode) {
	var paths []string
	size := 0
	_ = Walk(root, func(path string, i *Inode) error { // visit never fails
		if i.IsDir() && path != "" && hasAttributes(i) {
			paths = append(paths, path)
			size += len(path) + 1
		}
		return nil
	})
	if size > maxAttributed {
		return
	}
	if root.Xattrs == nil {
		root.Xattrs = map[string]string{}
	}
	root.Xattrs[AttributedXattr] = strings.Join(paths, "\x00")
}

// ParseAttributed returns the paths that a value of AttributedXattr stands for.
func ParseAttributed(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, "\x00")
}

func hasAttributes(dir *Inode) bool {
	for name := range dir.Xattrs {
		if !strings.HasPrefix(name, "trusted.overlay.") {
			return true
		}
	}
	return false
}
