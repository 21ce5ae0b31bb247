package erofs

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
)

// uuidOffset is of the field uuid in the superblock, 16 bytes.
const uuidOffset = superOffset + 48

// identified writes an image and derives its UUID from what is written.
type identified struct {
	w      io.WriterAt
	digest hash.Hash
}

// newIdentity begins a digest. firstNID is part of it: an image with nothing
// but a root directory does not show it.
func newIdentity(firstNID uint64) hash.Hash {
	digest := sha256.New()
	digest.Write(binary.LittleEndian.AppendUint64(nil, firstNID))
	return digest
}

// WriteAt writes p, as io.WriterAt, and adds it to the digest with its place.
func (i identified) WriteAt(p []byte, off int64) (int, error) {
	i.add(p, off)
	return i.w.WriteAt(p, off)
}

func (i identified) add(p []byte, off int64) {
	i.digest.Write(binary.LittleEndian.AppendUint64(nil, uint64(off)))
	i.digest.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p))))
	i.digest.Write(p)
}

// finish writes the start of the image, after all else: the UUID is over what
// head is without it. It is of version 8 (RFC 9562, section 5.8), so never zero.
func (i identified) finish(head []byte) error {
	i.add(head, 0)
	uuid := head[uuidOffset : uuidOffset+16]
	copy(uuid, i.digest.Sum(nil))
	uuid[6] = uuid[6]&0x0f | 0x80
	uuid[8] = uuid[8]&0x3f | 0x80
	putChecksum(head)
	_, err := i.w.WriteAt(head, 0)
	return err
}
