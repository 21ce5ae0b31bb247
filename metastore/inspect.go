package metastore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
)

// condition of a database before the store is opened.
type condition string

const (
	missing condition = "missing" // or an empty file in the place of a database
	damaged condition = "damaged"
	whole   condition = "whole"
)

// database is the database file or the saved file.
type database struct {
	is   condition
	why  error // if it is damaged; an ErrLaterFormat if it may be whole for a later version
	info durable.DBInfo
	size int64 // bytes, without the trailer of the saved file
}

func (d database) String() string {
	if d.is == damaged {
		return fmt.Sprintf("damaged (%v)", d.why)
	}
	return string(d.is)
}

// inspect checks a database. Damage is in the result, and is no error.
func (s *Store) inspect(name string) (database, error) {
	d, err := s.read(name)
	if err == nil && d.is == whole {
		err = checkRecords(s.path(name))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return database{is: missing}, nil
	case errors.Is(err, durable.ErrCorrupt), errors.Is(err, unix.EIO), errors.Is(err, durable.ErrLaterFormat):
		return database{is: damaged, why: err}, nil
	}
	return d, err
}

// read checks the structure of a database.
func (s *Store) read(name string) (database, error) {
	info, err := os.Lstat(s.path(name))
	if err != nil {
		return database{}, err
	}
	if !info.Mode().IsRegular() {
		return database{}, fmt.Errorf("%w: it is no regular file", durable.ErrCorrupt)
	}
	if info.Size() == 0 {
		return database{is: missing}, nil
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return database{}, err
	}
	defer f.Close()
	d := database{is: whole, size: info.Size()}
	if name == SavedFile {
		if d.size, err = checkTrailer(f, d.size); err != nil {
			return database{}, err
		}
	}
	d.info, err = durable.CheckDB(f, d.size)
	return d, err
}

// The saved file ends with a trailer of trailerSize bytes behind the database, where
// bbolt, an earlier version of this package among its users, does not look: trailerMagic, the
// size of the database (8 bytes, little-endian) and its CRC-32C (4 bytes).
const (
	trailerMagic = "LADLEsum"
	trailerSize  = len(trailerMagic) + 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func trailer(size int64, sum uint32) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(trailerMagic), uint64(size))
	return binary.LittleEndian.AppendUint32(b, sum)
}

// checkTrailer returns the size of the database in the saved file f of size bytes. The error
// is an ErrCorrupt if its bytes are others than the trailer says. A file without a
// trailer is of an earlier version, or was cut off behind the database.
func checkTrailer(f io.ReaderAt, size int64) (int64, error) {
	content := size - int64(trailerSize)
	got := make([]byte, trailerSize)
	if content <= 0 {
		return size, nil
	}
	if _, err := f.ReadAt(got, content); err != nil {
		return 0, err
	}
	if !strings.HasPrefix(string(got), trailerMagic) {
		return size, nil
	}
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, content)); err != nil {
		return 0, err
	}
	if string(got) != string(trailer(content, sum.Sum32())) {
		return 0, fmt.Errorf("%w: wrong checksum", durable.ErrCorrupt)
	}
	return content, nil
}

// condition of the state file.
type stateCondition string

const (
	stateMissing stateCondition = "missing"
	stateDamaged stateCondition = "damaged"
	stateCounts  stateCondition = "of this boot" // or the store was closed: the database has all transactions
	stateOther   stateCondition = "of another boot"
)

func (s *Store) inspectState() (stateCondition, error) {
	b, err := os.ReadFile(s.path(StateFile))
	text := strings.TrimSpace(string(b))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stateMissing, nil
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EIO), err == nil && text == "":
		return stateDamaged, nil
	case err != nil:
		return "", err
	case text == Closed, text == s.opts.BootID:
		return stateCounts, nil
	}
	return stateOther, nil
}
