package store

import "fmt"

// State is what is known of a chunk in a data file.
type State byte

// The states of a chunk.
const (
	Absent   State = iota // its bytes must be fetched
	Doubtful              // written during an earlier boot: verify before use
	Present               // its bytes are there and verified
)

// String returns the name of the state.
func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Doubtful:
		return "doubtful"
	case Present:
		return "present"
	}
	return fmt.Sprintf("State(%d)", byte(s))
}

// The file of presence marks is a header of marksHeader bytes and then one byte
// per chunk. The bytes differ from the values of State in more than one bit,
// so that a stray byte is likely to be noticed.
var markBytes = [...]byte{Absent: 0, Doubtful: 'd', Present: 'p'}

// parseMark returns the state that b stands for; ok is false if it stands for
// none.
func parseMark(b byte) (s State, ok bool) {
	for s, mark := range markBytes {
		if mark == b {
			return State(s), true
		}
	}
	return Doubtful, false
}
