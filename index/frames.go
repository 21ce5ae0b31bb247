package index

import (
	"bufio"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// frameSpacing is how many bytes of the tar are in a stream of zstd frames at least: frames
	// that are shorter are in one stream with those before them.
	frameSpacing = 64 << 10

	// moreFrames is how many streams begin before they are twice as far apart, and then before
	// they are four times as far apart, and so on: a few bytes of a blob make a frame of any
	// length.
	moreFrames = 1 << 18

	// maxFrames bounds the streams of a blob in any case.
	maxFrames = 1 << 20
)

// openFrame opens the zstd frame at which u stands, behind frames that are to be skipped (RFC
// 8878, sections 3.1.1 and 3.1.2). It returns io.EOF at the end of the blob.
func (u *unpacker) openFrame() error {
	for {
		if _, err := u.in.Peek(1); err != nil {
			return err
		}
		start, _ := u.in.Peek(zstd.HeaderMaxSize) // of a frame at the end of the blob it is less
		var h zstd.Header
		if err := h.Decode(start); err != nil {
			return fmt.Errorf("zstd: %w", unexpected(err))
		}
		if !h.Skippable {
			return u.readFrame(&h)
		}
		if _, err := u.in.Discard(h.HeaderSize + int(h.SkippableSize)); err != nil {
			return fmt.Errorf("zstd: %w", unexpected(err))
		}
	}
}

func (u *unpacker) readFrame(h *zstd.Header) error {
	if err := u.addFrame(); err != nil {
		return err
	}
	var err error
	u.stream, err = Zstd.NewReader(&frame{in: u.in, left: h.HeaderSize, checksum: h.HasCheckSum})
	return err
}

// addFrame notes that a stream begins at the frame at which u stands, if that is far enough from
// the last one. A stream with a frame that wants a large decoder begins with it, since the first
// frame of a stream tells how large the decoder has to be.
func (u *unpacker) addFrame() error {
	n := len(u.begins)
	large := windowOf(u.in) > usualWindow
	if n > 0 && !large && u.out-u.begins[n-1].tar < frameSpacing<<min(n/moreFrames, 32) {
		return nil
	}
	if n == maxFrames {
		return fmt.Errorf("zstd: more than %d frames with large windows", maxFrames)
	}
	u.begins = append(u.begins, beginning{u.source.n.Load() - int64(u.in.Buffered()), u.out})
	return nil
}

// frame is the bytes of a zstd frame: it ends where the frame does, which its blocks tell
// without being decompressed (RFC 8878, section 3.1.1.2).
type frame struct {
	in       *bufio.Reader
	left     int  // bytes up to the header of the next block, or to the end of the frame
	last     bool // no block follows
	checksum bool // 4 bytes follow the last block
}

// Read implements io.Reader.
func (f *frame) Read(p []byte) (int, error) {
	if f.left == 0 {
		if f.last {
			return 0, io.EOF
		}
		if err := f.nextBlock(); err != nil {
			return 0, unexpected(err)
		}
	}
	n, err := f.in.Read(p[:min(len(p), f.left)])
	f.left -= n
	if err != nil {
		err = unexpected(err)
	}
	return n, err
}

const (
	blockHeader = 3 // bytes
	frameSum    = 4 // bytes
	blockRLE    = 1 // the type of a block that has one byte, repeated
)

func (f *frame) nextBlock() error {
	b, err := f.in.Peek(blockHeader)
	if err != nil {
		return err
	}
	header := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	size := header >> 3
	if header>>1&3 == blockRLE {
		size = 1
	}
	f.last = header&1 != 0
	f.left = blockHeader + size
	if f.last && f.checksum {
		f.left += frameSum
	}
	return nil
}
