package snapshot

import "testing"

// A stack that was stored by this version or an earlier one is read, and written as it
// was: the numbers of snapshots are strings in it.
func TestStoredStack(t *testing.T) {
	const value = `{"Format":1,"Lowers":[{"ID":"12"},{"Part":"s1","Of":[3]},{"ID":"7","Part":"t2"},{"Diff":"0-12","Of":[12]}],"Bare":true}`
	st, err := decodeStack(value)
	if err != nil {
		t.Fatal(err)
	}
	if l := st.of(20); l[0].id != 12 || l[1].id != 20 || l[2].id != 7 || l[3].id != 0 {
		t.Errorf("lowers %+v", l)
	}
	if got, err := st.encode(); err != nil || got != value {
		t.Errorf("written as %s, %v", got, err)
	}
	for _, bad := range []string{`{"Lowers":[{"ID":"x"}]}`, `{"Lowers":[{"ID":"-1"}]}`, `{"Lowers":[{"ID":""}]}`} {
		if st, err := decodeStack(bad); err == nil {
			t.Errorf("%s is read as %+v", bad, st)
		}
	}
}
