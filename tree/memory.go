package tree

// What an inode takes in bytes of memory, about: itself with its entry in a
// directory, and what is more for a directory with entries.
const (
	inodeMemory = 208
	dirMemory   = 240
	xattrMemory = 128
)

// Memory returns about how many bytes of memory the tree below root takes.
func Memory(root *Inode) int64 {
	n := int64(inodeMemory + len(root.Target))
	for name, value := range root.Xattrs {
		n += int64(xattrMemory + len(name) + len(value))
	}
	if root.Dir == nil {
		return n
	}
	if len(root.Dir.entries) > 0 {
		n += dirMemory
	}
	for name, child := range root.Dir.entries {
		n += int64(len(name)) + Memory(child)
	}
	return n
}
