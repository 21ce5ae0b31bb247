// Package stacktest runs a stack in a test: errors end the test, the end of the
// test closes the stack, and a test that failed shows the logs.
//
//	s := stacktest.New(t, stack.Options{Daemons: []stack.Daemon{stack.Ladle("ladle", "")}})
//	ref := s.Push("debian-python", image.EStargz)
//	s.Pull("ladle", ref)
//	out := s.Run("ladle", ref, "python3", "-c", "print(1)")
package stacktest

import (
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// T is a stack for the time of one test.
type T struct {
	*stack.Stack
	testing.TB
}

// New starts a stack, and closes it when the test ends. Closing is part of the
// test: what it leaves behind is an error.
func New(t testing.TB, o stack.Options) *T {
	t.Helper()
	s, err := stack.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Cache.Log = t.Logf
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Node.Logs())
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing the stack: %v", err)
		}
	})
	return &T{Stack: s, TB: t}
}

// Push makes an image, puts it in the registry, and returns the reference to
// pull it by, through the link.
func (s *T) Push(recipe string, f image.Format) (ref string) {
	s.Helper()
	ref, err := s.PushImage(s.Context(), recipe, f)
	if err != nil {
		s.Fatal(err)
	}
	return ref
}

// Pull pulls with the stock client.
func (s *T) Pull(snapshotter, ref string) {
	s.Helper()
	if err := s.Node.Pull(s.Context(), snapshotter, ref); err != nil {
		s.Fatal(err)
	}
}

// Run runs a command in a new container and returns its standard output.
func (s *T) Run(snapshotter, ref string, args ...string) string {
	s.Helper()
	out, err := s.Node.Run(s.Context(), stack.Container{Snapshotter: snapshotter, Ref: ref, Args: args})
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// Ctr runs the stock client and returns its standard output.
func (s *T) Ctr(args ...string) string {
	s.Helper()
	out, err := s.Node.Ctr(s.Context(), args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}
