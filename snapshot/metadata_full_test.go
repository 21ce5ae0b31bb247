package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/metastore"
)

// An endpoint opens on a full disk, has all its snapshots, and can remove some. What
// cannot be made there leaves nothing. Nothing is lost by a reset of the machine
// then, whether there was space set aside or, as before there was such a thing, none.
func TestMetadataOnAFullDisk(t *testing.T) {
	boot, err := durable.BootID()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range disktest.Kinds {
		for _, state := range []string{boot, "another boot", metastore.Closed} {
			for _, aside := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/aside %v", kind, state, aside), func(t *testing.T) {
					t.Parallel()
					root := filepath.Join(disktest.New(t, kind, 32<<20), "e")
					testFullDisk(t, root, state, aside)
				})
			}
		}
	}
}

func testFullDisk(t *testing.T, root, state string, aside bool) {
	d := newDisk(t)
	endpoint := func() *Snapshotter {
		s, err := New(t.Context(), Options{Root: root, Layers: d, Trees: d})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := endpoint()
	want := []string{"keep"}
	commitFiles(t, s, "keep", "", map[string]string{"a": "a"})
	commitFiles(t, s, "drop", "", map[string]string{"b": "b"})
	for i := range 50 {
		name := fmt.Sprint("view", i)
		if _, err := s.View(t.Context(), name, "keep"); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	restart := func(state string) {
		t.Helper()
		if err := errors.Join(s.meta.Sync(t.Context()), s.Close(), durable.Rewrite(filepath.Join(root, metastore.StateFile), []byte(state+"\n"))); err != nil {
			t.Fatal(err)
		}
		s = endpoint()
		for _, name := range want {
			if _, err := s.Stat(t.Context(), name); err != nil {
				t.Errorf("%s after a start in state %s: %v", name, state, err)
			}
		}
	}
	if !aside {
		if err := errors.Join(s.Close(), removeStandbys(root)); err != nil {
			t.Fatal(err)
		}
	}
	free := disktest.Exhaust(t, filepath.Dir(root))
	if !aside {
		s = endpoint()
	}
	restart(state)
	wantFiles(t, "snapshot", viewOf(t, s, "keep"), map[string]string{"a": "a"})
	if _, err := s.Prepare(t.Context(), "new", "keep"); !errdefs.IsResourceExhausted(err) {
		// A directory may find room in what was freed.
		if err != nil {
			t.Errorf("Prepare: %v", err)
		} else if err := s.Remove(t.Context(), "new"); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Stat(t.Context(), "new"); !errdefs.IsNotFound(err) {
		t.Errorf("half made: %v", err)
	}
	if err := errors.Join(s.Remove(t.Context(), "drop"), s.Cleanup(t.Context())); err != nil {
		t.Errorf("removal on a full disk: %v", err)
	}
	restart("another boot")
	if _, err := s.Stat(t.Context(), "drop"); !errdefs.IsNotFound(err) {
		t.Errorf("what was removed is back: %v", err)
	}
	free()
	if _, err := s.Prepare(t.Context(), "new", "keep"); err != nil {
		t.Fatal(err)
	}
	want = append(want, "new")
	restart("another boot")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// removeStandbys makes an endpoint one of before there were standbys.
func removeStandbys(root string) error {
	standbys, err := filepath.Glob(filepath.Join(root, "*"+durable.Suffix))
	for _, path := range standbys {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
