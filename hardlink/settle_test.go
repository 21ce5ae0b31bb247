package hardlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// A file comes to share the inode of an equal one, and of no other.
func TestSettleLinksEqualFiles(t *testing.T) {
	b := newBed(t, onDisk(t))
	for path, test := range map[string]struct {
		content string
		change  func(path string) // of member 2
		linked  bool
	}{
		"same":         {"some text", nil, true},
		"deep/er/same": {"other text", nil, true},
		"content": {"text one", func(p string) {
			must(t, os.WriteFile(p, []byte("text two"), 0o640))
			must(t, os.Chtimes(p, epoch, epoch))
		}, false},
		"mode":          {"mode", func(p string) { must(t, unix.Chmod(p, 0o4640)) }, false},
		"owner":         {"owner", func(p string) { must(t, os.Chown(p, 1, 0)) }, false},
		"group":         {"group", func(p string) { must(t, os.Chown(p, 0, 1)) }, false},
		"time":          {"time", func(p string) { must(t, os.Chtimes(p, epoch, epoch.Add(1))) }, false},
		"access time":   {"atime", func(p string) { must(t, os.Chtimes(p, epoch.Add(time.Hour), epoch)) }, true},
		"xattr":         {"xattr", func(p string) { setXattr(t, p, "user.x", "1") }, false},
		"trusted xattr": {"trusted", func(p string) { setXattr(t, p, "trusted.x", "1") }, false},
		"etc/single":    {"single", nil, false},
		"empty":         {"", nil, false},
		"new\nline\xff": {"name", nil, true},
	} {
		t.Run(path, func(t *testing.T) {
			one, two := b.write(1, path, test.content), b.write(2, path, test.content)
			if test.change != nil {
				test.change(two)
			}
			defer func() { must(t, errors.Join(os.RemoveAll(b.Dir(1)), os.RemoveAll(b.Dir(2)))) }()
			before1, before2 := b.listing(1), b.listing(2)
			b.settle(1)
			b.settle(2)
			if sameInode(t, one, two) != test.linked {
				t.Errorf("linked: %v, want %v", !test.linked, test.linked)
			}
			b.unchanged(1, before1)
			b.unchanged(2, before2)
		})
	}
}

// Two files that are alike but for their bytes are compared and not hashed; with
// a third one hashes say which are worth comparing.
func TestSettleHashesWhenThereAreSeveral(t *testing.T) {
	b := newBed(t, onDisk(t))
	var paths []string
	for i, test := range []struct {
		content string
		like    int // number of the file to share the inode of; its own number: none
		hashed  bool
	}{{"one", 0, false}, {"one", 0, false}, {"two", 2, false}, {"two", 2, true}, {"one", 0, true}} {
		id := uint64(i + 1)
		paths = append(paths, b.write(id, "file", test.content))
		b.settle(id)
		for j, other := range paths[:i] {
			want := test.like != i && sameInode(t, other, paths[test.like])
			if linked := sameInode(t, paths[i], other); linked != want {
				t.Errorf("file %d is linked to file %d: %v", i, j, linked)
			}
		}
		st, err := tree.Lstat(paths[i])
		must(t, err)
		must(t, b.pool.view(func(x index) error {
			if r := x.file(st.Ino); r == nil || r.content.hashed() != test.hashed {
				t.Errorf("after file %d its record is %+v", i, r)
			}
			return nil
		}))
	}
}

// Names of one member share an inode if they did before, and only then.
func TestSettleKeepsLinksWithinAMember(t *testing.T) {
	b := newBed(t, onDisk(t))
	for id := uint64(1); id <= 3; id++ {
		b.write(id, "a", "text")
		b.write(id, "b", "text")
		b.write(id, "c", "linked")
	}
	must(t, os.Link(filepath.Join(b.Dir(1), "c"), filepath.Join(b.Dir(1), "d")))
	must(t, os.Link(filepath.Join(b.Dir(3), "c"), filepath.Join(b.Dir(3), "d")))
	must(t, os.Link(filepath.Join(b.Dir(3), "a"), filepath.Join(b.Dir(3), "e")))
	var before [4][]string
	for id := uint64(1); id <= 3; id++ {
		before[id] = b.listing(id)
	}
	for id := uint64(1); id <= 3; id++ {
		b.settle(id)
	}
	for id := uint64(1); id <= 3; id++ {
		b.unchanged(id, before[id])
	}
	for _, path := range []string{"a", "b", "c"} {
		if one, two := filepath.Join(b.Dir(1), path), filepath.Join(b.Dir(2), path); path == "c" && !sameInode(t, one, two) {
			t.Errorf("%s is not linked", path)
		}
	}
	if got := len(b.inodes(2)); got != 3 {
		t.Errorf("member 2 has %d inodes", got)
	}
}

// Members that some view shows together share nothing, also not by way of a
// third.
func TestSettleKeepsMembersOfOneViewApart(t *testing.T) {
	b := newBed(t, onDisk(t))
	for id := uint64(1); id <= 3; id++ {
		b.write(id, "file", "text")
	}
	b.together[[2]uint64{1, 3}] = true
	for id := uint64(1); id <= 3; id++ {
		b.settle(id)
	}
	if path := func(id uint64) string { return filepath.Join(b.Dir(id), "file") }; !sameInode(t, path(1), path(2)) || sameInode(t, path(1), path(3)) {
		t.Error("want 1 and 2 to share, and 3 not")
	}
	if !b.pairs[[2]uint64{1, 2}] || len(b.pairs) != 1 {
		t.Errorf("pairs %v", b.pairs)
	}
}

// What a view shows is not touched until it is free, and then it is.
func TestSettleWaitsForViews(t *testing.T) {
	b := newBed(t, onDisk(t))
	one, two := b.write(1, "file", "text"), b.write(2, "file", "text")
	b.settle(1)
	b.used[1] = true
	if got := b.settle(2); len(got.Blocked) != 1 || got.Blocked[0] != 1 || sameInode(t, one, two) {
		t.Errorf("reached %+v", got)
	}
	if settled, err := b.pool.Keep(func(uint64) bool { return true }); err != nil || settled[2] || !settled[1] {
		t.Errorf("settled %v, %v", settled, err)
	}
	b.used[1] = false
	b.holding = func() { b.used[2] = true }
	if _, err := b.pool.Settle(t.Context(), 2); !errors.Is(err, ErrInUse) || sameInode(t, one, two) {
		t.Errorf("settled while in use: %v", err)
	}
	b.holding, b.used[2] = func() {}, false
	b.reopen()
	if got := b.settle(2); got.Linked != (Amount{1, 4}) || !sameInode(t, one, two) {
		t.Errorf("reached %+v", got)
	}
	if got := b.settle(2); got.Linked != (Amount{}) {
		t.Errorf("reached again %+v", got)
	}
}

// A file that somebody has open for writing is left alone.
func TestSettleLeavesWhatIsWritten(t *testing.T) {
	b := newBed(t, onDisk(t))
	for _, written := range []uint64{1, 2} {
		one, two := b.write(1, "file", "text"), b.write(2, "file", "text")
		f, err := os.OpenFile(filepath.Join(b.Dir(written), "file"), os.O_WRONLY, 0)
		must(t, err)
		b.settle(1)
		b.settle(2)
		must(t, f.Close())
		if sameInode(t, one, two) {
			t.Errorf("linked although %d is open for writing", written)
		}
	}
}

// A wrong index costs links, never bytes.
func TestSettleDoesNotBelieveTheIndex(t *testing.T) {
	b := newBed(t, onDisk(t))
	one, two := b.write(1, "file", "text"), b.write(2, "file", "text")
	b.settle(1)
	t.Run("stale", func(t *testing.T) {
		must(t, os.WriteFile(one, []byte("TEXT"), 0o640))
		must(t, os.Chtimes(one, epoch, epoch))
		b.settle(2)
		if sameInode(t, one, two) {
			t.Error("linked to what was equal once")
		}
	})
	t.Run("wrong", func(t *testing.T) {
		must(t, b.pool.update(func(x index) error {
			st, err := tree.Lstat(one)
			must(t, err)
			other, err := tree.Lstat(two)
			must(t, err)
			old, r := x.file(st.Ino), *x.file(st.Ino)
			r.content = x.file(other.Ino).content
			return x.put(st.Ino, old, &r)
		}))
		b.settle(2)
		if sameInode(t, one, two) {
			t.Error("linked to other bytes")
		}
	})
	t.Run("torn", func(t *testing.T) {
		must(t, b.pool.Close())
		text, err := os.ReadFile(b.pool.indexFile())
		must(t, err)
		must(t, os.WriteFile(one, []byte("text"), 0o640))
		must(t, os.Chtimes(one, epoch, epoch))
		for page := 2; page < len(text)/4096; page++ {
			torn := bytes.Clone(text)
			copy(torn[page*4096:(page+1)*4096], make([]byte, 4096))
			must(t, os.WriteFile(b.pool.indexFile(), torn, 0o600))
			b.open()
			b.settle(1)
			b.settle(2)
			must(t, b.pool.Close())
			if !sameInode(t, one, two) {
				t.Errorf("page %d: not linked", page)
			}
			must(t, os.Remove(two))
			b.write(2, "file", "text")
		}
		b.open()
	})
}

// Members that are gone are forgotten, and their inodes may be used again.
func TestSettleForgets(t *testing.T) {
	b := newBed(t, onDisk(t))
	for id := uint64(1); id <= 3; id++ {
		b.write(id, "file", "text")
	}
	b.settle(1)
	b.settle(2)
	must(t, os.RemoveAll(b.Dir(1)))
	_, err := b.pool.Keep(func(id uint64) bool { return id != 1 })
	must(t, err)
	b.settle(3)
	if !sameInode(t, filepath.Join(b.Dir(2), "file"), filepath.Join(b.Dir(3), "file")) {
		t.Error("not linked")
	}
	_, err = b.pool.Keep(func(uint64) bool { return false })
	must(t, err)
	must(t, b.pool.update(func(x index) error {
		for _, name := range buckets {
			if k, _ := x.Bucket(name).Cursor().First(); k != nil {
				t.Errorf("%q is left in %s", k, name)
			}
		}
		return nil
	}))
}

// Whatever the members are: each looks as before, and no two of one view share
// an inode.
func TestSettleAnything(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			b := newBed(t, onDisk(t))
			const count = 6
			var before [count + 1][]string
			for id := uint64(1); id <= count; id++ {
				b.random(random, id)
				before[id] = b.listing(id)
				for other := range id {
					b.together[[2]uint64{other, id}] = random.IntN(4) == 0
				}
			}
			var linked Amount
			for range 2 {
				for id := uint64(1); id <= count; id++ {
					b.used[uint64(1+random.IntN(count))] = random.IntN(3) == 0
					r, err := b.pool.Settle(t.Context(), id)
					if err != nil && !errors.Is(err, ErrInUse) {
						t.Fatal(err)
					}
					linked.Files += r.Linked.Files
					if random.IntN(4) == 0 {
						b.reopen()
					}
				}
			}
			t.Logf("%d links", linked.Files)
			for id := uint64(1); id <= count; id++ {
				b.unchanged(id, before[id])
				for other := uint64(1); other < id; other++ {
					if !b.Apart(other, id) {
						b.disjoint(other, id)
					}
				}
			}
		})
	}
}

// random fills a member with files of few contents and attributes.
func (b *bed) random(random *rand.Rand, id uint64) {
	b.Helper()
	var paths []string
	for range 30 {
		path := fmt.Sprintf("%d/%d", random.IntN(3), random.IntN(20))
		full := filepath.Join(b.Dir(id), path)
		os.Remove(full)
		if len(paths) > 0 && random.IntN(5) == 0 {
			must(b, os.MkdirAll(filepath.Dir(full), 0o755))
			if from := paths[random.IntN(len(paths))]; from != full {
				os.Link(from, full) // or from was replaced
			}
			continue
		}
		b.write(id, path, fmt.Sprintf("content %d", random.IntN(4)))
		must(b, os.Chmod(full, os.FileMode(0o600+random.IntN(2))))
		paths = append(paths, full)
	}
}

func (b *bed) disjoint(one, other uint64) {
	b.Helper()
	there := b.inodes(one)
	for ino := range b.inodes(other) {
		if there[ino] {
			b.Errorf("members %d and %d of one view share inode %d", one, other, ino)
		}
	}
}

// Settling ends when its context does.
func TestSettleStops(t *testing.T) {
	b := newBed(t, onDisk(t))
	b.write(1, "file", "text")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.pool.Settle(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
