package index

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

func reg(name, data string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(1000, 0)}, []byte(data)}
}

func dir(name string) member {
	return member{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o750, Uid: 7, ModTime: time.Unix(2000, 0)}, nil}
}

func link(name, target string) member {
	return member{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o600, Gid: 9, ModTime: time.Unix(3000, 0)}, nil}
}

func symlink(name, target string) member {
	return member{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, Uid: 3, ModTime: time.Unix(4000, 0)}, nil}
}

func device(kind byte, name string, major, minor int64) member {
	return member{tar.Header{Typeflag: kind, Name: name, Mode: 0o620, Devmajor: major, Devminor: minor, ModTime: time.Unix(5000, 0)}, nil}
}

func (m member) with(change func(*tar.Header)) member {
	change(&m.Header)
	return m
}

func (m member) xattr(name, value string) member {
	records := map[string]string{"SCHILY.xattr." + name: value}
	for k, v := range m.PAXRecords {
		records[k] = v
	}
	m.PAXRecords = records
	return m
}

// capability is a security.capability attribute, cap_net_raw=ep.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// TestSameAsApply has containerd extract tars that are easy to get wrong.
func TestSameAsApply(t *testing.T) {
	long := strings.Repeat("n", 255)
	for name, members := range map[string][]member{
		"empty":                    {},
		"root entry":               {dir("./").with(func(h *tar.Header) { h.Mode = 0o700 }).xattr("user.a", "b"), reg("f", "x")},
		"implied parents":          {reg("a/b/c", "x"), dir("a/"), reg("d/e", "y")},
		"directory repeated":       {dir("d").xattr("user.a", "1"), reg("d/f", "x"), dir("d/").with(func(h *tar.Header) { h.Mode, h.Uid = 0o711, 5 }).xattr("user.b", "2")},
		"file repeated":            {reg("f", "one"), reg("f", "two, and longer"), reg("g", "three")},
		"file over directory":      {dir("d"), reg("d/e/f", "x"), link("l", "d/e/f"), reg("d", "y").with(func(h *tar.Header) { h.ModTime = time.Unix(2000, 0) })},
		"directory over file":      {reg("d", "x"), dir("d"), reg("d/f", "y")},
		"symlink over file":        {reg("s", "x"), symlink("s", "/nowhere")},
		"file over symlink":        {symlink("s", "f"), reg("f", "x"), reg("s", "y")},
		"hard links":               {reg("d/a", "x").xattr("user.a", "1"), link("d/b", "d/a"), link("./c", "/d/../d/a").xattr("user.c", "3")},
		"hard link to symlink":     {symlink("s", "nowhere"), link("l", "s")},
		"hard link to device":      {device(tar.TypeChar, "c", 1, 3), link("l", "c")},
		"target of link replaced":  {reg("a", "old"), link("b", "a"), reg("a", "new")},
		"link loses capability":    {reg("a", "x").xattr("security.capability", capability), link("b", "a")},
		"link keeps capability":    {reg("a", "x").xattr("security.capability", capability), link("b", "a").xattr("security.capability", capability)},
		"modes":                    {reg("suid", "x").with(func(h *tar.Header) { h.Mode = 0o106755 }), dir("sticky").with(func(h *tar.Header) { h.Mode = 0o41777 }), reg("none", "x").with(func(h *tar.Header) { h.Mode = 0 })},
		"owners":                   {reg("f", "x").with(func(h *tar.Header) { h.Uid, h.Gid = 100_000, 4294967294 })},
		"times":                    {reg("a", "x").with(func(h *tar.Header) { h.ModTime = time.Unix(-5, 0) }), reg("b", "x").with(func(h *tar.Header) { h.ModTime = time.Unix(1<<33, 0) }), reg("c", "x").with(func(h *tar.Header) { h.ModTime = time.Unix(1<<34, 0) })},
		"devices":                  {device(tar.TypeChar, "c", 4095, 1048575), device(tar.TypeBlock, "b", 8, 257), device(tar.TypeFifo, "p", 0, 0)},
		"device that is whiteout":  {device(tar.TypeChar, "d/c", 0, 0)},
		"whiteout":                 {dir("d"), reg("d/.wh.x", ""), reg(".wh.y", "")},
		"whiteout with bytes":      {reg(".wh.y", "bytes"), reg("f", "x")},
		"whiteout, then file":      {reg("d/.wh.x", ""), reg("d/x", "new")},
		"whiteout, then directory": {reg(".wh.d", ""), dir("d"), reg("d/x", "new")},
		"whiteout of odd names":    {reg(".wh....", ""), reg(".wh. ", "")},
		"opaque":                   {dir("d"), reg("d/.wh..wh..opq", ""), reg("d/x", "x")},
		"opaque last":              {dir("d"), reg("d/x", "x"), reg("d/.wh..wh..opq", "")},
		"opaque implied":           {reg("d/e/.wh..wh..opq", "")},
		"opaque root":              {reg(".wh..wh..opq", "")},
		"opaque, then repeated":    {dir("d"), reg("d/.wh..wh..opq", ""), dir("d")},
		"below a whiteout's name":  {reg(".wh.d/x", "x")},
		"odd names":                {reg("a\nb", "x"), reg(" ", "x"), reg("-", "x"), reg("\\", "x"), reg("...", "x"), reg("é", "x"), reg(long, "x"), reg(long+"/"+long, "x").with(func(h *tar.Header) { h.Name = "d/" + h.Name })},
		"names outside":            {reg("../a", "x"), reg("/b", "x"), reg("../../c/../d", "x"), reg("e/../../f", "x"), dir(".."), dir("/")},
		"xattrs":                   {reg("f", "x").xattr("user.a", "").xattr("user.b\n", "\x00\xff").xattr("trusted.c", "3").xattr("nonsense", "4").xattr("system.d", "5"), symlink("s", "f").xattr("user.a", "1"), dir("d").xattr("user.a", "1")},
		"sizes":                    {reg("a", ""), reg("b", strings.Repeat("b", 4095)), reg("c", strings.Repeat("c", 4096)), reg("d", strings.Repeat("d", 4097)), reg("e", strings.Repeat("e", 20_000))},
		"zeros":                    {reg("a", strings.Repeat("\x00", 300_000)), reg("b", "b"+strings.Repeat("\x00", 300_000)+"b")},
	} {
		t.Run(name, func(t *testing.T) { check(t, members, slices.Concat(forms, plainForms), true) })
	}
}

// TestSameAsApplyRandom does the same with random tars.
func TestSameAsApplyRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	applied := 0
	const rounds = 100
	for n := range rounds {
		members := randomMembers(rand.New(rand.NewPCG(seed, uint64(n))))
		some := []form{forms[n%len(forms)], forms[(n/2)%len(forms)], plainForms[n%len(plainForms)]}
		if check(t, members, some, false) {
			applied++
		}
		if t.Failed() {
			for _, m := range members {
				t.Logf("%c %q -> %q %d bytes", m.Typeflag, m.Name, m.Linkname, len(m.data))
			}
			t.Fatalf("round %d", n)
		}
	}
	if applied < rounds/4 {
		t.Errorf("containerd refused all but %d of %d tars", applied, rounds)
	}
}

// check compares the trees and files of forms of a tar with what containerd
// extracts. It reports whether containerd did.
func check(t *testing.T, members []member, forms []form, mustApply bool) bool {
	tarball := tarOf(t, members)
	root := t.TempDir()
	if err := unix.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := archive.Apply(t.Context(), root, bytes.NewReader(tarball), archive.WithConvertWhiteout(archive.OverlayConvertWhiteout))
	if err != nil && mustApply {
		t.Fatalf("Apply: %v", err)
	}
	for _, form := range forms {
		if t.Failed() {
			break
		}
		b := form.compress(t, tarball)
		if err != nil {
			b.open() // it may be more lenient, but must come back
			continue
		}
		index, _ := b.mustOpen(t)
		want, err := treetest.FromDir(root)
		if err != nil {
			t.Fatal(err)
		}
		even(members, want, index.Root)
		if diffs := treetest.Diff(want, index.Root); len(diffs) > 0 {
			t.Errorf("%s: containerd's tree and ours:%s", form.name, treetest.Lines(diffs, 20))
		}
		if err := treetest.CompareData(root, index.Root, dataFile(t, b, index)); err != nil {
			t.Errorf("%s: %v", form.name, err)
		}
	}
	return err == nil
}

// even makes equal in both trees what cannot be equal: the time of directories
// that the tar does not have, attributes of whiteouts, and the time of files
// that took the place of a directory, which Apply sets to the directory's.
func even(members []member, want, got *tree.Inode) {
	dirs := map[string]bool{}
	for _, m := range members {
		if m.Typeflag == tar.TypeDir {
			dirs[path.Clean("/" + m.Name)[1:]] = true
		}
	}
	for _, root := range []*tree.Inode{want, got} {
		tree.Walk(root, func(path string, inode *tree.Inode) error {
			switch {
			case inode.IsWhiteout():
				*inode = tree.Inode{Mode: unix.S_IFCHR, Nlink: inode.Nlink}
			case path == "" || inode.IsDir() != dirs[path]:
				inode.Mtime = tree.Time{}
			}
			return nil
		})
	}
}

// randomMembers returns members with few names, so that they collide.
func randomMembers(r *rand.Rand) []member {
	pick := func(s string) string { return s[r.IntN(len(s)):][:1] }
	parent := func() string {
		p := ""
		for range r.IntN(3) {
			p += pick("abc") + "/"
		}
		return p
	}
	var members []member
	var files []string
	for range 5 + r.IntN(25) {
		name := parent() + pick("abcdefghijklmn")
		var m member
		switch k := r.IntN(20); {
		case k < 7:
			m = reg(name, strings.Repeat(pick("xyz\x00"), r.IntN(3)*r.IntN(9000)))
			files = append(files, name)
		case k < 12:
			m = dir(name)
		case k < 14 && len(files) > 0:
			m = link(name, files[r.IntN(len(files))])
		case k < 15:
			m = symlink(parent()+pick("st"), pick("abc"))
		case k < 16:
			m = device(tar.TypeChar, name, r.Int64N(4096), r.Int64N(1<<20))
		case k < 18:
			m = reg(parent()+".wh."+pick("lmnopqr"), "")
		case k < 19:
			m = reg(parent()+".wh..wh..opq", "")
		default:
			m = device(tar.TypeFifo, name, 0, 0)
		}
		m.Mode = int64(r.IntN(0o10000))
		m.Uid, m.Gid = r.IntN(3), r.IntN(70_000)
		m.ModTime = time.Unix(r.Int64N(1<<31), 0)
		if r.IntN(4) == 0 {
			m = m.xattr(fmt.Sprint("user.", pick("ab")), pick("uvw"))
		}
		if r.IntN(6) == 0 && m.Typeflag == tar.TypeReg {
			m = m.xattr("security.capability", capability)
		}
		members = append(members, m)
	}
	return members
}
