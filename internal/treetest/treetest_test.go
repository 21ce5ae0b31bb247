package treetest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// TestRoundTrip puts random trees on disk and takes them back: whatever one of
// Random, ToDir, FromDir and WriteData gets wrong shows as a difference.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(8) {
		dir := filepath.Join(t.TempDir(), "t")
		want := Random(rand.New(rand.NewPCG(seed, 0)), Shape{
			Inodes: 200, Layer: true, OddNames: true, MaxXattr: 1000, LongLinks: true,
		})
		if err := ToDir(dir, want, Pattern(seed)); err != nil {
			t.Fatal(err)
		}
		got, err := FromDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := Diff(want, got); len(d) > 0 {
			t.Errorf("seed %d:%s", seed, Lines(d, 20))
		}
		if err := CompareData(dir, want, Pattern(seed)); err != nil {
			t.Error(err)
		}
		data := tempFile(t)
		if err := WriteData(data, dir, got); err != nil {
			t.Fatal(err)
		}
		if err := CompareData(dir, got, data); err != nil {
			t.Error(err)
		}
		if err := CompareData(dir, want, Pattern(seed+1)); err == nil {
			t.Error("wrong data was not noticed")
		}
	}
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestDiffNotices changes one thing at a time.
func TestDiffNotices(t *testing.T) {
	sample := func() *tree.Inode {
		root := tree.NewDir(0o755)
		file := &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 5}
		root.Dir.Add("f1", file)
		root.Dir.Add("f2", file)
		root.Dir.Add("g", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 5, Nlink: 1})
		root.Dir.Add("l", &tree.Inode{Mode: unix.S_IFLNK | 0o777, Target: "x"})
		root.Dir.Add("c", &tree.Inode{Mode: unix.S_IFCHR, Device: tree.Device{Major: 1, Minor: 3}})
		root.Dir.Add("d", tree.NewDir(0o755))
		return root
	}
	cases := map[string]func(root *tree.Inode){
		FieldEntry:  func(r *tree.Inode) { r.Dir.Remove("l") },
		FieldType:   func(r *tree.Inode) { r.Dir.Lookup("c").Mode = unix.S_IFBLK },
		FieldMode:   func(r *tree.Inode) { r.Dir.Lookup("f1").Mode ^= 0o4000 },
		FieldOwner:  func(r *tree.Inode) { r.Dir.Lookup("l").GID = 1 },
		FieldSize:   func(r *tree.Inode) { r.Dir.Lookup("g").Size = 6 },
		FieldMtime:  func(r *tree.Inode) { r.Dir.Lookup("d").Mtime.Nsec = 1 },
		FieldTarget: func(r *tree.Inode) { r.Dir.Lookup("l").Target = "y" },
		FieldDevice: func(r *tree.Inode) { r.Dir.Lookup("c").Device.Minor = 4 },
		FieldXattrs: func(r *tree.Inode) { r.Dir.Lookup("d").Xattrs = map[string]string{"user.a": ""} },
		FieldOpaque: func(r *tree.Inode) { r.Dir.Lookup("d").Dir.Opaque = true },
		FieldNlink:  func(r *tree.Inode) { r.Dir.Lookup("g").Nlink = 3 },
		FieldGroup: func(r *tree.Inode) { // the same counts, other groups
			one, other := r.Dir.Lookup("f1"), r.Dir.Lookup("g")
			r.Dir.Add("f2", other)
			r.Dir.Add("g", one)
		},
	}
	for field, change := range cases {
		a, b := sample(), sample()
		if d := Diff(a, b); len(d) > 0 {
			t.Fatalf("equal trees differ:%s", Lines(d, 5))
		}
		change(b)
		found := false
		for _, d := range Diff(a, b) {
			found = found || d.Field == field
		}
		if !found {
			t.Errorf("a change of %s was not noticed", field)
		}
	}
}
