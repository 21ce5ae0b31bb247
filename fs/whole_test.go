package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// DataFile implements Whole for the books that are whole.
func (b *book) DataFile(context.Context) (path string, ok bool) {
	if !b.whole {
		return "", false
	}
	path, ok, _ = b.Layer.Whole()
	return path, ok
}

// putWhole is put for a layer with all of its bytes in its data file.
func (s *shelf) putWhole(name string, root *tree.Inode, data io.ReaderAt) (store.ID, error) {
	id := store.ID{Blob: digest.FromString(name), TOC: digest.FromString("TOC of " + name)}
	l, err := s.store.Add(id, store.Content{DataSize: treetest.DataSize(root, 0)})
	if err != nil {
		return id, err
	}
	s.mu.Lock()
	s.mu.books[id] = &book{Layer: l, root: root, data: data, whole: true}
	s.mu.Unlock()
	return id, s.write(l, root, data)
}

func (s *shelf) write(l *store.Layer, root *tree.Inode, data io.ReaderAt) error {
	path := filepath.Join(s.root, "store/layers", strconv.FormatUint(l.Number(), 10), "data")
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = tree.Walk(root, func(_ string, i *tree.Inode) error {
		if !i.IsRegular() {
			return nil
		}
		_, err := io.Copy(io.NewOffsetWriter(file, i.Data.Offset), io.NewSectionReader(data, i.Data.Offset, i.Size))
		return err
	})
	return errors.Join(err, file.Close())
}

// mountingDrivers are the drivers that can mount a layer from its data file.
var mountingDrivers = []string{"erofs", "loop"}

// TestWholeLayers mounts layers that are whole, alone and beside one that is not. The
// export is asked for the bytes of the latter only.
func TestWholeLayers(t *testing.T) {
	for _, driver := range mountingDrivers {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, driver)
			var ids []store.ID
			var roots []*tree.Inode
			var data []io.ReaderAt
			add := func(put func(string, *tree.Inode, io.ReaderAt) (store.ID, error)) {
				n := len(ids)
				root, pattern := random(uint64(n), treetest.Shape{Inodes: 100})
				id, err := put(fmt.Sprint("layer ", n), root, pattern)
				if err != nil {
					t.Fatal(err)
				}
				ids, roots, data = append(ids, id), append(roots, root), append(data, pattern)
			}
			add(l.putWhole)
			add(l.putWhole)
			before := l.requests()[metrics.OpRead] // of trying the driver
			path := l.mount("whole", ids...)
			compare(t, path, tree.Merge(roots...), data...)
			if n := l.requests()[metrics.OpRead] - before; n != 0 {
				t.Errorf("%v READs for layers that are whole", n)
			}
			for _, id := range ids {
				if n := l.book(id).reads.Load(); n != 0 {
					t.Errorf("%d reads of a layer that is whole", n)
				}
			}
			add(l.put)
			path = l.mount("mixed", ids...)
			compare(t, path, tree.Merge(roots...), data...)
			if l.book(ids[2]).reads.Load() == 0 {
				t.Error("no reads of the layer that is not whole")
			}
			if l.book(ids[0]).reads.Load() != 0 || l.book(ids[1]).reads.Load() != 0 {
				t.Error("reads of the layers that are whole")
			}
		})
	}
}

// TestWholeLayersNeedNoDaemon kills a daemon: its layers that are whole can be read, also
// what nobody read before. Who has a file open reads it when the next daemon has mounted
// the tree again.
func TestWholeLayersNeedNoDaemon(t *testing.T) {
	for _, driver := range mountingDrivers {
		t.Run(driver, func(t *testing.T) {
			root := testDir(t)
			t.Cleanup(func() { checkNothingLeft(t, root) })
			first := startChild(t, "whole", nil, root, driver)
			path := first.line(t)
			held, err := os.Open(filepath.Join(path, "b"))
			if err != nil {
				t.Fatal(err)
			}
			first.kill(t)
			_, roots, data := daemonLayers()
			half := make([]byte, daemonFile/2)
			if _, err := held.ReadAt(half, 0); err != nil {
				t.Error(err)
			}
			second := startChild(t, "whole", nil, root, driver)
			if again := second.line(t); again != path {
				t.Errorf("mounted at %s, then at %s", path, again)
			}
			second.kill(t)
			compare(t, path, tree.Merge(roots...), data...)
			rest, err := io.ReadAll(io.NewSectionReader(held, daemonFile/2, daemonFile))
			if err := errors.Join(err, held.Close()); err != nil {
				t.Error(err)
			}
			want, err := io.ReadAll(io.NewSectionReader(data[0], roots[0].Dir.Lookup("b").Data.Offset, daemonFile))
			if err != nil || !bytes.Equal(append(half, rest...), want) {
				t.Errorf("wrong bytes of a file that was open; %v", err)
			}
			if err := detachStale(t.Context(), filepath.Join(root, "f"), filepath.Join(root, "l")); err != nil {
				t.Error(err)
			}
			if err := removeEmpty(filepath.Join(root, "l")); err != nil {
				t.Error(err)
			}
			if err := os.MkdirAll(filepath.Join(root, "l"), 0o700); err != nil {
				t.Error(err)
			}
		})
	}
}

// childWhole is a daemon with one mounted tree, of layers that are whole, until it is killed.
func childWhole(args []string) error {
	ctx := context.Background()
	st, err := store.Open(ctx, filepath.Join(args[0], "store"), store.Options{})
	if err != nil {
		return err
	}
	s := &shelf{root: args[0], store: st}
	s.mu.books = map[store.ID]*book{}
	var ids []store.ID
	names, roots, data := daemonLayers()
	for i := range names {
		id, err := s.putWhole(names[i], roots[i], data[i])
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	f, err := New(ctx, s.options(args[1]))
	if err != nil {
		return err
	}
	path, err := f.Mount(ctx, "child", over(ids...))
	if err != nil {
		return err
	}
	fmt.Println(path)
	select {}
}
