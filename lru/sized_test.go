package lru

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// keys returns which of the keys up to 9 have a value, without using any.
func keys(s *Sized[int, string]) (found string) {
	for k := range 10 {
		if s.Has(k) {
			found += fmt.Sprint(k)
		}
	}
	return found
}

// The values that were used last are kept, up to so many bytes, the last one always.
func TestSizedIsBounded(t *testing.T) {
	s := NewSized[int, string](100, time.Hour)
	defer s.Stop()
	want := func(found string, bytes int64) {
		t.Helper()
		if got := keys(s); got != found || s.Bytes() != bytes {
			t.Errorf("keys %s of %d bytes, want %s of %d", got, s.Bytes(), found, bytes)
		}
	}
	for k := range 4 {
		s.Add(k, fmt.Sprint(k), 30)
	}
	want("123", 90)
	if v, ok := s.Get(1); !ok || v != "1" {
		t.Errorf("%q, %v", v, ok)
	}
	s.Add(4, "", 30) // 2 was used longest ago: Has is no use
	want("134", 90)
	s.Add(4, "again", 20)
	want("134", 80)
	if v, _ := s.Get(4); v != "again" {
		t.Errorf("%q, want the value that was added last", v)
	}
	s.Add(5, "", 1000)
	want("5", 1000)
	s.Add(6, "", 10)
	want("6", 10)
	s.Purge()
	want("", 0)
	if v, ok := s.Get(6); ok || v != "" {
		t.Errorf("%q, %v after Purge", v, ok)
	}
}

// All values go when none was added for the lifetime; using one does not count.
func TestSizedForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSized[int, string](100, 5*time.Second)
		for k := range 3 {
			s.Add(k, "", 10)
			time.Sleep(4 * time.Second)
			if _, ok := s.Get(0); !ok {
				t.Error("dropped too early")
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := keys(s); got != "" || s.Bytes() != 0 {
			t.Errorf("keys %s of %d bytes", got, s.Bytes())
		}
	})
}
