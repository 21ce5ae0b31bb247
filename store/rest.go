package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// restFile has what a layer's tar has besides the chunks, as far as it was kept: records of
// the package that keeps them. It is not synced and may be missing. In little endian:
//
//	 0  8  magic and version
//	then of each record
//	 0  4  its bytes
//	 4  4  CRC-32C of them
//	 8  .  them
//
// What follows a record that is not sound does not count, and is overwritten.
const (
	restFile   = "rest"
	restMagic  = "ladleRS1"
	restHeader = 8

	// MaxRest bounds the bytes of a record.
	MaxRest = 64 << 20
)

// rest is the file restFile of an open layer.
type rest struct {
	sync.Mutex
	file *os.File // nil: not opened yet
	end  int64    // of the sound records, in bytes
}

// KeepRest adds a record to what is kept of the layer's tar. limit bounds the bytes of all
// records; with more, nothing is added, and no error is returned.
func (l *Layer) KeepRest(record []byte, limit int64) error {
	r := &l.rest
	r.Lock()
	defer r.Unlock()
	if err := l.openRest(); err != nil {
		return fmt.Errorf("store: rest of layer %d: %w", l.Number(), err)
	}
	size := int64(restHeader + len(record))
	if len(record) > MaxRest || r.end+size > limit {
		return nil
	}
	b := make([]byte, restHeader, size)
	binary.LittleEndian.PutUint32(b, uint32(len(record)))
	binary.LittleEndian.PutUint32(b[4:], checksum(record))
	if _, err := r.file.WriteAt(append(b, record...), r.end); err != nil {
		return fmt.Errorf("store: rest of layer %d: %w", l.Number(), err)
	}
	r.end += size
	return nil
}

// Rests returns all records that were kept of the layer's tar, in the order of KeepRest.
func (l *Layer) Rests() ([][]byte, error) {
	r := &l.rest
	r.Lock()
	defer r.Unlock()
	f, err := os.Open(l.path(restFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: rest of layer %d: %w", l.Number(), err)
	}
	defer f.Close()
	records, _, err := readRests(f)
	if err != nil {
		return nil, fmt.Errorf("store: rest of layer %d: %w", l.Number(), err)
	}
	return records, nil
}

// openRest opens the file for writing, and makes it if it is not there. The mutex of l.rest
// is held.
func (l *Layer) openRest() error {
	r := &l.rest
	if r.file != nil {
		return nil
	}
	f, err := os.OpenFile(l.path(restFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, r.end, err = readRests(f); err == nil && r.end == 0 {
		if _, err = f.WriteAt([]byte(restMagic), 0); err == nil {
			r.end = int64(len(restMagic))
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file = f
	return nil
}

// readRests returns the sound records of a file, and where they end; 0 if it is not one of
// this version.
func readRests(f io.Reader) (records [][]byte, end int64, err error) {
	b, err := io.ReadAll(f)
	if err != nil || !bytes.HasPrefix(b, []byte(restMagic)) {
		return nil, 0, err
	}
	end = int64(len(restMagic))
	for b = b[end:]; len(b) > restHeader; {
		n := int64(binary.LittleEndian.Uint32(b))
		if n == 0 || n > int64(len(b)-restHeader) {
			break
		}
		record := b[restHeader:][:n]
		if checksum(record) != binary.LittleEndian.Uint32(b[4:]) {
			break
		}
		records = append(records, record)
		b, end = b[restHeader+n:], end+restHeader+n
	}
	return records, end, nil
}
