package store

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMarksSurviveTheirFile(t *testing.T) {
	want := []State{Present, Absent, Doubtful, Present, Absent}
	got, sound := decodeMarks(encodeMarks("boot", want), "boot", len(want))
	if !sound || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, sound, want)
	}
}

// TestGarbledMarks: nothing is present by a file in which anything is wrong that
// can be seen.
func TestGarbledMarks(t *testing.T) {
	states := slices.Repeat([]State{Present, Absent, Doubtful, Present}, 50)
	whole := encodeMarks("boot", states)
	check := func(what string, b []byte) {
		t.Helper()
		got, sound := decodeMarks(b, "boot", len(states))
		if sound || len(got) != len(states) || slices.Contains(got, Present) {
			t.Errorf("%s: believed", what)
		}
	}
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			check("a flipped bit", b)
		}
		check("cut off", whole[:i])
	}
	rnd := rand.NewChaCha8([32]byte{})
	for range 100 {
		b := bytes.Clone(whole)
		rnd.Read(b[rand.IntN(len(b)-50):])
		check("random bytes", b)
	}
	check("zeros", make([]byte, len(whole)))
	check("another boot", encodeMarks("toob", states))
	check("another number of chunks", encodeMarks("boot", states[1:]))
}
