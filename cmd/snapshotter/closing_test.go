package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCloseIsInReverse(t *testing.T) {
	var open closers
	var closed []string
	broken := errors.New("broken")
	for _, name := range []string{"store", "trees", "server"} {
		open.add(name, func(context.Context) error {
			closed = append(closed, name)
			if name == "trees" {
				return broken
			}
			return nil
		})
	}
	err := open.close(t.Context())
	if !slices.Equal(closed, []string{"server", "trees", "store"}) {
		t.Errorf("closed %v", closed)
	}
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "stop trees: ") {
		t.Errorf("error is %v", err)
	}
}

// TestCloseIsBounded has a part that never stops; the parts that were started before it are
// stopped all the same.
func TestCloseIsBounded(t *testing.T) {
	var open closers
	stopped := false
	open.add("store", func(context.Context) error { stopped = true; return nil })
	stuck := make(chan struct{})
	defer close(stuck)
	open.add("trees", func(context.Context) error { <-stuck; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open.close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if !stopped {
		t.Error("the store was not stopped")
	}
}
