package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// elsewhere is a test as goroutines may use it that are not the test's own: what is
// fatal ends the goroutine, and the test fails.
type elsewhere struct{ testing.TB }

func (e elsewhere) Fatal(args ...any) {
	e.Helper()
	e.Error(args...)
	runtime.Goexit()
}

func (e elsewhere) Fatalf(format string, args ...any) {
	e.Helper()
	e.Errorf(format, args...)
	runtime.Goexit()
}

func (e elsewhere) FailNow() {
	e.Fail()
	runtime.Goexit()
}

// Snapshots settle while others are made, looked at, removed and swept.
func TestSettleBesideOthers(t *testing.T) {
	s := newEndpoint(t, newDisk(t), onlyLinks, func(o *Options) { o.Settle = true })
	l := &settled{Snapshotter: s, t: t}
	var want []string
	for i := range 4 {
		name := l.commit(fmt.Sprint("base", i), "", "a/file", fmt.Sprint(i, "/file"), "a/other")
		want = append(want, l.layer("", name))
	}
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			l := &settled{Snapshotter: s, t: elsewhere{t}}
			name := fmt.Sprint("base", i)
			for n := range 10 {
				top := l.commit(fmt.Sprint(name, "-", n), name, "b/file", "b/other")
				merged := l.merge(fmt.Sprint("merge", i, "-", n), top, fmt.Sprint("base", (i+1)%4))
				l.alone(merged, "b/file", "a/file", fmt.Sprint((i+1)%4, "/file"))
				if got := l.layer("", name); got != want[i] {
					t.Errorf("the layer of %s changed", name)
				}
				for _, name := range []string{merged, top} {
					if n%3 > 0 {
						must(l.t, s.Remove(t.Context(), name))
					}
				}
				must(l.t, s.Cleanup(t.Context()))
			}
		})
	}
	group.Wait()
}

// Sweeps run one after the other, and a call that waits can be given up.
func TestSweepsTakeTurns(t *testing.T) {
	s := newSettled(t)
	s.commit("gone", "", "file")
	dir := s.upper(idOfKey(t, s.Snapshotter, "gone"))
	must(t, s.Remove(t.Context(), "gone"))
	s.sweeping <- struct{}{} // another one sweeps
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Cleanup(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("swept beside another sweep: %v", err)
	}
	if _, err := os.Lstat(dir); err != nil {
		t.Error(err)
	}
	<-s.sweeping
	must(t, s.Cleanup(t.Context()))
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("not swept: %v", err)
	}
}

// A directory in which names come to be while it is deleted, as settling makes them, is
// deleted in the end.
func TestStrayBesideLinks(t *testing.T) {
	dir := filepath.Join(tempDir(t), "stray")
	from := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(from, nil, 0o600))
	for range 60 {
		for i := range 40 {
			put(t, filepath.Join(dir, fmt.Sprint(i%4), fmt.Sprint(i)), "text")
		}
		// It stops at the first name that is gone, and had looked at one more.
		linked := make(chan struct{})
		go func() {
			defer close(linked)
			for i := range 40 {
				path := filepath.Join(dir, fmt.Sprint(i%4), fmt.Sprint(i))
				if _, err := os.Lstat(path); err != nil {
					return
				}
				_ = os.Rename(path, path+"x") // it may be gone by now
			}
		}()
		must(t, removeStray(dir))
		<-linked
	}
}
