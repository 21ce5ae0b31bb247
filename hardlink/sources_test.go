package hardlink

import (
	"fmt"
	"testing"
)

func TestSourcesMeet(t *testing.T) {
	for _, test := range []struct {
		a, b Sources
		want bool
	}{
		{nil, nil, false},
		{SourcesOf(1), nil, false},
		{SourcesOf(Unknown), Sources{}, false},
		{SourcesOf(1, 2), SourcesOf(3), false},
		{SourcesOf(1, 2, 3), SourcesOf(3, 4), true},
		{SourcesOf(Unknown), SourcesOf(3), true},
		{SourcesOf(Unknown), SourcesOf(Unknown), true},
		{SourcesOf(1, Unknown), SourcesOf(3, 4, 5), true},
	} {
		if test.a.Meets(test.b) != test.want || test.b.Meets(test.a) != test.want {
			t.Errorf("%v and %v meet: %v, want %v", test.a, test.b, !test.want, test.want)
		}
	}
}

func TestSourcesAreSets(t *testing.T) {
	a, b := SourcesOf(3, 1, 3), SourcesOf(2, 1)
	if got := fmt.Sprint(a.With(b).List(), Sources(nil).With(b).List(), a.With(nil).List(), a.List(), b.List()); got != "[1 2 3] [1 2] [1 3] [1 3] [1 2]" {
		t.Error(got)
	}
	if !a.Known() || !a.Has(3) || a.Has(2) || !Sources(nil).Known() || Sources(nil).Has(2) {
		t.Error("a set has other members than it was made of")
	}
	if unknown := a.With(SourcesOf(Unknown)); unknown.Known() || !unknown.Has(2) {
		t.Error("a set that is not known has not all members")
	}
}
