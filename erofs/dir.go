package erofs

// A directory's content is a row of blocks, each with its dirents first and
// their names behind them. Blocks are filled up; no entry crosses a boundary.

// cutBlock returns how many of the first of entries go into one block, and how
// many bytes of it they take.
func cutBlock(entries []entry) (count, size int) {
	for _, e := range entries {
		more := direntSize + len(e.name)
		if size+more > blockSize {
			break
		}
		size += more
		count++
	}
	return count, size
}

// dirSize returns the size in bytes of a directory's content. Of the last block only the
// used bytes count. The names have been checked.
func dirSize(entries []entry) int64 {
	var whole int64
	for {
		count, size := cutBlock(entries)
		if count == len(entries) {
			return whole + int64(size)
		}
		entries = entries[count:]
		whole += blockSize
	}
}

// putDirBlock fills b with entries, which fit. Where the last name does not end
// with the block a zero ends it.
func (p *plan) putDirBlock(b []byte, entries []entry) {
	nameOffset := len(entries) * direntSize
	for i, e := range entries {
		target := &p.nodes[e.node]
		putDirent(b[i*direntSize:], target.nid(), nameOffset, target.inode.Mode)
		nameOffset += copy(b[nameOffset:], e.name)
	}
}
