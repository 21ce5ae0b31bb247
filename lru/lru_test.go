package lru

import "testing"

func TestNewIsBounded(t *testing.T) {
	c, shared := New[int, string](2), NewConcurrent[int, string](2)
	for k := range 3 {
		c.Add(k, "")
		shared.Add(k, "")
	}
	if c.Len() != 2 || shared.Len() != 2 || c.Contains(0) || shared.Contains(0) {
		t.Errorf("%v and %v are there, want the last two", c.Keys(), shared.Keys())
	}
}

// A size that is not positive is a fault of the program.
func TestNoSizePanics(t *testing.T) {
	for name, construct := range map[string]func(){
		"New":           func() { New[int, int](0) },
		"NewConcurrent": func() { NewConcurrent[int, int](-1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			construct()
		})
	}
}
