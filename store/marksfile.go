package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
)

// The header of a file of presence marks, in little endian:
//
//	 0  8  magic and version
//	 8  8  number of chunks
//	16 40  boot id under which the marks were set, padded with zeros
//	56  4  zero
//	60  4  CRC-32C of the 60 bytes before
const (
	marksMagic  = "ladleP1\n"
	marksHeader = 64
	maxBootID   = 40
)

// marksHead returns the header; bootID has at most maxBootID bytes.
func marksHead(bootID string, n int) []byte {
	b := append(make([]byte, 0, marksHeader), marksMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	b = append(b, bootID...)
	b = append(b, make([]byte, marksHeader-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// encodeMarks returns the file that says states under bootID.
func encodeMarks(bootID string, states []State) []byte {
	b := marksHead(bootID, len(states))
	for _, s := range states {
		b = append(b, markBytes[s])
	}
	return b
}

// decodeMarks returns the n states that the file b says. They are believed only
// if all of b is sound and was written under bootID; else sound is false, and
// no state is Present.
func decodeMarks(b []byte, bootID string, n int) (states []State, sound bool) {
	states = make([]State, n)
	if len(b) != marksHeader+n || !bytes.HasPrefix(b, []byte(marksMagic)) {
		for i := range states {
			states[i] = Doubtful
		}
		return states, false
	}
	sound = bytes.Equal(b[:marksHeader], marksHead(bootID, n))
	for i, mark := range b[marksHeader:] {
		var ok bool
		states[i], ok = parseMark(mark)
		sound = sound && ok
	}
	if !sound {
		for i, s := range states {
			if s == Present {
				states[i] = Doubtful
			}
		}
	}
	return states, sound
}

// loadMarks returns the n states of the file at path, and whether it can be gone on
// with. A file that is not to be believed is to be replaced as a whole, so that a
// Present of another boot never stands under a header of this one.
func loadMarks(path, bootID string, n int) (states []State, sound bool, err error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	states, sound = decodeMarks(b, bootID, n)
	return states, sound, nil
}
