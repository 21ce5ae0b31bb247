package durable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// DBInfo describes a bbolt database of sound structure.
type DBInfo struct {
	TxID  uint64 // number of the last committed transaction
	Empty bool   // the database has no bucket

	// Torn says that one of the two meta pages is damaged. bbolt then uses the other
	// one, and the last transaction may be missing.
	Torn bool

	// Sum is a checksum (CRC-32C) of the meta page in use and of all pages that it
	// leads to. It is equal in copies of one database after the same transaction.
	Sum uint32
}

// CheckDB reads the bbolt database in the first size bytes of r, which nobody writes
// to meanwhile. It does not map the file into memory, and checks the range of each number
// that it reads: bbolt itself (v1.5.0, Tx.Check) ends the process by a fault or an endless
// recursion on some damaged files. The error is an ErrCorrupt if the structure is not sound.
//
// Checked are the meta pages, that each page below the high-water mark is in use once or
// free, that keys are in order, and that keys and values fill pages as bbolt writes
// them. bbolt has no checksums of keys and values: a changed byte in one of them is
// found only if it breaks the order of keys.
//
// The format is that of bbolt v1.5.0, internal/common: meta.go, page.go, bucket.go,
// inode.go.
func CheckDB(r io.ReaderAt, size int64) (DBInfo, error) {
	c := checker{r: r, size: size, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	info, err := c.run()
	if errors.Is(err, io.EOF) {
		err = corrupt("the file ends within a page")
	}
	return info, err
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

const (
	pageHeader = 16 // bytes: id (8), flags (2), count (2), overflow (4)
	entrySize  = 16 // bytes of a branch or leaf element before its key
	metaSize   = 64 // bytes of a meta behind the page header

	branchFlag, leafFlag, metaFlag, freeFlag = 0x01, 0x02, 0x04, 0x10

	// maxDepth is more levels of pages than a database has that fits on a disk.
	maxDepth = 100
)

// checker is a walk over all pages.
type checker struct {
	r        io.ReaderAt
	size     int64
	pageSize uint64
	pages    uint64 // high-water mark: pages with this number or a larger one were never used
	seen     []bool // by page: it is in use, or free
	sum      hash.Hash32
}

var native = binary.NativeEndian // the byte order of bbolt is that of the machine

func (c *checker) run() (DBInfo, error) {
	m, torn, err := c.metas()
	if err != nil {
		return DBInfo{}, err
	}
	c.pageSize, c.pages = m.pageSize, m.pages
	if c.pages < 4 || c.pages > uint64(c.size)/c.pageSize {
		return DBInfo{}, corrupt("%d bytes, and %d pages of %d bytes", c.size, c.pages, c.pageSize)
	}
	c.seen = make([]bool, c.pages)
	c.seen[0], c.seen[1] = true, true
	c.sum.Write(m.raw)
	if m.freelist != noFreelist {
		if err := c.free(m.freelist); err != nil {
			return DBInfo{}, err
		}
	}
	n, err := c.tree(m.root, bounds{}, 0)
	if err != nil {
		return DBInfo{}, err
	}
	for id, seen := range c.seen {
		if !seen && m.freelist != noFreelist {
			return DBInfo{}, corrupt("page %d is neither in use nor free", id)
		}
	}
	return DBInfo{TxID: m.txid, Empty: n == 0, Torn: torn, Sum: c.sum.Sum32()}, nil
}

// page reads a page with its overflow pages, and marks all of them as seen.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.pages {
		return nil, corrupt("page %d of %d", id, c.pages)
	}
	head := make([]byte, pageHeader)
	if _, err := c.r.ReadAt(head, int64(id*c.pageSize)); err != nil {
		return nil, err
	}
	n := uint64(native.Uint32(head[12:])) + 1
	if native.Uint64(head) != id || n > c.pages-id {
		return nil, corrupt("page %d says that it is page %d, with %d pages", id, native.Uint64(head), n)
	}
	for i := id; i < id+n; i++ {
		if c.seen[i] {
			return nil, corrupt("page %d is used twice", i)
		}
		c.seen[i] = true
	}
	b := make([]byte, n*c.pageSize)
	if _, err := c.r.ReadAt(b, int64(id*c.pageSize)); err != nil {
		return nil, err
	}
	c.sum.Write(b)
	return b, nil
}

// free reads the list of free pages.
func (c *checker) free(id uint64) error {
	b, err := c.page(id)
	if err != nil {
		return err
	}
	count, list := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if count == 0xffff { // the number is the first element
		count, list = native.Uint64(list), list[8:]
	}
	if native.Uint16(b[8:]) != freeFlag || count > uint64(len(list)/8) {
		return corrupt("page %d is no list of free pages", id)
	}
	for i := range count {
		page := native.Uint64(list[8*i:])
		if page < 2 || page >= c.pages || c.seen[page] {
			return corrupt("page %d is listed as free", page)
		}
		c.seen[page] = true
	}
	return nil
}

// bounds limit the keys of a page: first is its first key, which the page above has as the
// key of this page (bbolt looks the page up by it), and high is larger than all its keys.
// Nil is no bound.
type bounds struct{ first, high []byte }

// tree reads all below the page id, buckets in it included, and returns how many
// elements that page has.
func (c *checker) tree(id uint64, within bounds, depth int) (int, error) {
	b, err := c.page(id)
	if err != nil {
		return 0, err
	}
	all, _, err := elements(b, within.high)
	if err != nil {
		return 0, fmt.Errorf("page %d: %w", id, err)
	}
	if within.first != nil && (len(all) == 0 || !bytes.Equal(all[0].key, within.first)) {
		return 0, corrupt("page %d does not begin with the key %x", id, within.first)
	}
	if depth > maxDepth || len(all) == 0 && isBranch(b) {
		return 0, corrupt("page %d in a tree of depth %d has %d elements", id, depth, len(all))
	}
	for i, e := range all {
		below := bounds{}
		switch {
		case isBranch(b):
			below = bounds{e.key, within.high}
			if i+1 < len(all) {
				below.high = all[i+1].key
			}
		case !e.bucket:
			continue
		case e.page == 0:
			if err := inline(e.value[bucketHeader:]); err != nil {
				return 0, fmt.Errorf("page %d: %w", id, err)
			}
			continue
		}
		if _, err := c.tree(e.page, below, depth+1); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// inline checks the page of a small bucket, which is in the value of its key.
func inline(b []byte) error {
	if len(b) < pageHeader || native.Uint64(b) != 0 || native.Uint32(b[12:]) != 0 || isBranch(b) {
		return corrupt("a bucket without a page")
	}
	all, end, err := elements(b, nil)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.bucket {
			return corrupt("a bucket in a bucket without pages")
		}
	}
	if end != uint64(len(b)) {
		return corrupt("a bucket of %d bytes ends after %d", len(b), end)
	}
	return nil
}

func isBranch(page []byte) bool { return native.Uint16(page[8:]) == branchFlag }

// element is an entry of a branch page or leaf page.
type element struct {
	key, value []byte
	bucket     bool
	page       uint64 // of a branch, or of a bucket; 0: the bucket is in the value
}

// bucketHeader is the size of a bucket before its inline page: root page (8) and
// sequence (8).
const bucketHeader = 16

// elements parses a branch page or leaf page, all keys of which are below high unless that
// is nil. end is where the last value ends.
func elements(b []byte, high []byte) (all []element, end uint64, err error) {
	count := uint64(native.Uint16(b[10:]))
	end = pageHeader + count*entrySize
	if flags := native.Uint16(b[8:]); flags != branchFlag && flags != leafFlag || end > uint64(len(b)) {
		return nil, 0, corrupt("flags %#x with %d elements", flags, count)
	}
	for at := uint64(pageHeader); at < pageHeader+count*entrySize; at += entrySize {
		head := b[at : at+entrySize]
		var e element
		var pos, keySize, valueSize uint64
		if isBranch(b) {
			pos, keySize, e.page = uint64(native.Uint32(head)), uint64(native.Uint32(head[4:])), native.Uint64(head[8:])
		} else {
			flags := native.Uint32(head)
			if flags > 1 {
				return nil, 0, corrupt("an element with flags %#x", flags)
			}
			e.bucket = flags == 1
			pos, keySize, valueSize = uint64(native.Uint32(head[4:])), uint64(native.Uint32(head[8:])), uint64(native.Uint32(head[12:]))
		}
		if at+pos != end || keySize == 0 || keySize+valueSize > uint64(len(b))-end {
			return nil, 0, corrupt("an element of %d and %d bytes at %d", keySize, valueSize, at+pos)
		}
		e.key, e.value = b[end:end+keySize], b[end+keySize:end+keySize+valueSize]
		end += keySize + valueSize
		if e.bucket {
			if valueSize < bucketHeader {
				return nil, 0, corrupt("a bucket of %d bytes", valueSize)
			}
			e.page = native.Uint64(e.value)
		}
		if len(all) > 0 && bytes.Compare(all[len(all)-1].key, e.key) >= 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return nil, 0, corrupt("the key %x is out of order", e.key)
		}
		all = append(all, e)
	}
	return all, end, nil
}
