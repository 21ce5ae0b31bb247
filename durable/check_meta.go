package durable

import (
	"errors"
	"hash/fnv"
	"io"
	"math"
)

// noFreelist in place of the page of free pages says that they are not listed.
const noFreelist = math.MaxUint64

const (
	metaMagic   = 0xed0cdaed
	metaVersion = 2
)

// dbMeta is a meta page. A database has two, pages 0 and 1, which are written in turn.
type dbMeta struct {
	raw                                   []byte
	pageSize, root, freelist, pages, txid uint64
}

// metas returns the meta page that bbolt uses, the newest one that is whole, and
// whether the other one is damaged.
func (c *checker) metas() (m dbMeta, torn bool, err error) {
	first, whole, err := c.meta(0)
	if err != nil {
		return dbMeta{}, false, err
	}
	if whole {
		second, whole, err := c.meta(first.pageSize)
		switch {
		case err != nil || !whole || second.pageSize != first.pageSize:
			return first, true, err
		case second.txid > first.txid:
			return second, false, nil
		}
		return first, false, nil
	}
	for size := uint64(1 << 10); size <= 16<<20; size *= 2 { // as bbolt tries them
		if m, whole, err := c.meta(size); err != nil || whole && m.pageSize == size {
			return m, true, err
		}
	}
	return dbMeta{}, false, corrupt("both meta pages are damaged")
}

// meta reads the meta page at an offset.
func (c *checker) meta(at uint64) (m dbMeta, whole bool, err error) {
	b := make([]byte, pageHeader+metaSize)
	if at > uint64(c.size) {
		return dbMeta{}, false, nil
	}
	if _, err := c.r.ReadAt(b, int64(at)); errors.Is(err, io.EOF) {
		return dbMeta{}, false, nil
	} else if err != nil {
		return dbMeta{}, false, err
	}
	flags, b := native.Uint16(b[8:]), b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(b[:56])
	m = dbMeta{
		raw: b, pageSize: uint64(native.Uint32(b[8:])), root: native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}
	whole = flags == metaFlag && native.Uint32(b) == metaMagic && native.Uint32(b[4:]) == metaVersion &&
		native.Uint64(b[56:]) == sum.Sum64() && m.pageSize >= 1<<10
	return m, whole, nil
}
