package stack

import (
	"errors"
	"testing"

	"github.com/ladle-dev/ladle/durable"
)

// A stack that was stored by this version or an earlier one is read, and written as it
// was: the numbers of snapshots are strings in it.
func TestStoredStack(t *testing.T) {
	const value = `{"Format":1,"Lowers":[{"ID":"12"},{"Part":"s1","Of":[3]},{"ID":"7","Part":"t2"},{"Diff":"0-12","Of":[12]}],"Bare":true}`
	st, err := Decode(value)
	if err != nil {
		t.Fatal(err)
	}
	if l := st.LowersOf(20); l[0].Snapshot != 12 || l[1].Snapshot != 20 || l[2].Snapshot != 7 || l[3].Snapshot != 0 {
		t.Errorf("lowers %+v", l)
	}
	if got, err := st.Encode(); err != nil || got != value {
		t.Errorf("written as %s, %v", got, err)
	}
	for _, bad := range []string{`{"Lowers":[{"ID":"x"}]}`, `{"Lowers":[{"ID":"-1"}]}`, `{"Lowers":[{"ID":""}]}`, `{"Format":-1}`, `{"Lowers":[{"Over":[1]}]}`} {
		if st, err := Decode(bad); err == nil || errors.Is(err, durable.ErrLaterFormat) {
			t.Errorf("%s is read as %+v, %v", bad, st, err)
		}
	}
	for _, later := range []string{`{"Format":2}`, `{"Format":2,"Lowers":7,"Layers":{}}`} {
		if st, err := Decode(later); !errors.Is(err, durable.ErrLaterFormat) {
			t.Errorf("%s is read as %+v, %v", later, st, err)
		}
	}
}

// Earlier versions did not write down of which snapshots a stack has inodes.
func TestStoredStackWithoutFormat(t *testing.T) {
	st, err := Decode(`{"Lowers":[{"ID":"12"},{"Part":"s1"},{"Part":"t1"},{"Diff":"0"},{"Diff":"0-12"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, known := range []bool{true, false, true, true, false} {
		if l := st.LowersOf(20)[i]; l.Sources().Known() != known {
			t.Errorf("%+v has inodes of %v", l, l.Sources())
		}
	}
}
