package tree

// Walk calls visit for root, with the path "", and then for everything below
// it, parents first and names in bytewise order; paths have no leading slash.
// It stops at the first error and returns it.
func Walk(root *Inode, visit func(path string, inode *Inode) error) error {
	return walk("", root, visit)
}

func walk(path string, inode *Inode, visit func(string, *Inode) error) error {
	if err := visit(path, inode); err != nil {
		return err
	}
	if !inode.IsDir() {
		return nil
	}
	if path != "" {
		path += "/"
	}
	for _, e := range inode.Dir.Entries() {
		if err := walk(path+e.Name, e.Inode, visit); err != nil {
			return err
		}
	}
	return nil
}
