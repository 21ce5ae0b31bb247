package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/store"
)

// A store opens on a filesystem without blocks or inodes, also in the first life
// after a reset of the machine, and what is there can be read.
func TestOpenOnAFullDisk(t *testing.T) {
	exhaust := func(t *testing.T, dir string) func() { return disktest.Exhaust(t, dir) }
	inodes := func(t *testing.T, dir string) func() { return disktest.ExhaustInodes(t, dir) }
	for name, test := range map[string]struct {
		kind    string
		args    []string
		exhaust func(t *testing.T, dir string) (free func())
	}{
		"ext4":        {"ext4", nil, exhaust},
		"xfs":         {"xfs", nil, exhaust},
		"btrfs":       {"btrfs", nil, exhaust},
		"ext4 inodes": {"ext4", []string{"-N", "64"}, inodes},
	} {
		t.Run(name, func(t *testing.T) {
			dir := disktest.New(t, test.kind, 32<<20, test.args...)
			root := filepath.Join(dir, "store")
			s := open(t, root, store.Options{BootID: "first"})
			l := add(t, s, 1)
			fill(t, l, 1, 3)
			image := addTree(t, s, over(sampleID(1)))
			closeLayer(t, l)
			closeStore(t, s)
			if err := os.Remove(filepath.Join(root, "format")); err != nil { // as if of before there was one
				t.Fatal(err)
			}
			free := test.exhaust(t, dir)

			for range 2 { // nothing of it can be written
				s = open(t, root, store.Options{BootID: "second"})
				l = layer(t, s, 1)
				wantState(t, l, 3, store.Doubtful)
				if err := l.Mark(3, store.Present); err != nil {
					t.Error(err)
				}
				wantState(t, l, 3, store.Present)
				if err := verify(l, 1, 3); err != nil {
					t.Error(err)
				}
				if got, err := s.Tree(t.Context(), over(sampleID(1))); err != nil || got != image {
					t.Errorf("tree image: %+v, %v", got, err)
				}
				if _, err := s.Add(sampleID(2), sampleContent(2)); !durable.NoSpace(err) {
					t.Errorf("Add: %v", err)
				}
				closeLayer(t, l)
				closeStore(t, s)
			}

			free()
			s = open(t, root, store.Options{BootID: "second"})
			l = layer(t, s, 1)
			wantState(t, l, 3, store.Doubtful)
			fill(t, l, 1, 4)
			if err := l.Mark(3, store.Present); err != nil {
				t.Error(err)
			}
			closeLayer(t, l)
			closeLayer(t, add(t, s, 2))
			closeStore(t, s)
			s = open(t, root, store.Options{BootID: "second"})
			l = layer(t, s, 1)
			wantState(t, l, 3, store.Present)
			wantState(t, l, 4, store.Present)
			closeLayer(t, l)
			closeStore(t, s)
		})
	}
}
