package treetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// Shape says what random trees look like.
type Shape struct {
	Inodes    int  // about how many
	Layer     bool // with whiteouts and opaque directories
	MaxXattr  int  // bytes of the longest attribute value; ext4 takes about 2000
	OddNames  bool // long, not UTF-8, or sorting before "."
	Collide   bool // few different names, so that layers overlap
	MaxFile   int  // bytes of the largest file; 0 is 20 kB
	LongLinks bool // targets of up to 4095 bytes
}

// Random returns a tree that r alone determines. ToDir can put it on ext4.
// Contents lie in the data file of layer 0.
func Random(r *rand.Rand, s Shape) *tree.Inode {
	if s.MaxFile == 0 {
		s.MaxFile = 20_000
	}
	g := generator{Rand: r, shape: s, left: s.Inodes}
	root := tree.NewDir(0o755)
	dirs := []*tree.Inode{root}
	for g.left > 0 {
		g.left--
		in := dirs[g.IntN(len(dirs))]
		name := g.name()
		if in.Dir.Lookup(name) != nil {
			continue
		}
		child := g.child()
		in.Dir.Add(name, child)
		if child.IsDir() {
			dirs = append(dirs, child)
		}
	}
	for _, dir := range dirs {
		g.decorate(dir)
	}
	return root
}

type generator struct {
	*rand.Rand
	shape Shape
	left  int
	files []*tree.Inode // that may get further names
	data  int64         // bytes of the data file so far
}

func (g *generator) name() string {
	if g.shape.Collide && g.IntN(8) > 0 {
		return string(rune('a' + g.IntN(6)))
	}
	if !g.shape.OddNames || g.IntN(2) > 0 {
		return fmt.Sprintf("n%d", g.IntN(1<<20))
	}
	odd := []string{"-", "!", ".-", "..x", ".x", " ", "\n", "\xff\xfe", "é", "\\", "\x01", ".wh.", ",:="}
	name := odd[g.IntN(len(odd))] + strings.Repeat("x", g.IntN(3))
	if g.IntN(4) == 0 {
		name += strings.Repeat("l", 255-len(name))
	}
	return name
}

// child returns a new inode, or a file of before for a further name.
func (g *generator) child() *tree.Inode {
	if len(g.files) > 0 && g.IntN(8) == 0 {
		return g.files[g.IntN(len(g.files))]
	}
	if g.IntN(4) == 0 {
		return tree.NewDir(uint32(g.IntN(0o10000)))
	}
	if g.shape.Layer && g.IntN(4) == 0 {
		whiteout := tree.NewWhiteout()
		g.files = append(g.files, whiteout)
		return whiteout
	}
	file := g.file()
	g.decorate(file)
	g.files = append(g.files, file)
	return file
}

func (g *generator) file() *tree.Inode {
	perm := uint32(g.IntN(0o10000))
	device := tree.Device{Major: 1 + g.Uint32N(1<<12-1), Minor: g.Uint32N(1 << 20)}
	switch g.IntN(12) {
	case 0, 1, 2:
		return &tree.Inode{Mode: unix.S_IFLNK | 0o777, Target: g.target()}
	case 3:
		return &tree.Inode{Mode: unix.S_IFCHR | perm, Device: device}
	case 4:
		return &tree.Inode{Mode: unix.S_IFBLK | perm, Device: device}
	case 5:
		return &tree.Inode{Mode: unix.S_IFIFO | perm}
	case 6:
		return &tree.Inode{Mode: unix.S_IFSOCK | perm}
	}
	file := &tree.Inode{Mode: unix.S_IFREG | perm, Size: g.size()}
	file.Data.Offset = g.data
	g.data += align(file.Size)
	return file
}

func (g *generator) size() int64 {
	switch edges := []int64{0, 1, 4095, 4096, 4097, 8192}; g.IntN(2) {
	case 0:
		return edges[g.IntN(len(edges))]
	default:
		return int64(g.IntN(g.shape.MaxFile))
	}
}

func (g *generator) target() string {
	longest := 80
	if g.shape.LongLinks && g.IntN(4) == 0 {
		longest = 4095
	}
	return strings.Repeat("/t", longest)[:1+g.IntN(longest)]
}

// decorate gives inode an owner, a time and extended attributes.
func (g *generator) decorate(inode *tree.Inode) {
	owners := []uint32{0, 1, 1000, 65535, 65536, 100_000, 1<<32 - 2}
	inode.UID, inode.GID = owners[g.IntN(len(owners))], owners[g.IntN(len(owners))]
	// What ext4 with 256-byte inodes can hold: 1901 to 2446.
	inode.Mtime = tree.Time{Sec: -1<<31 + g.Int64N(1<<34), Nsec: g.Uint32N(1e9)}
	if inode.IsDir() {
		inode.Dir.Opaque = g.shape.Layer && g.IntN(4) == 0
	}
	if g.shape.MaxXattr > 0 && g.IntN(3) == 0 {
		inode.Xattrs = g.xattrs(inode)
	}
}

func (g *generator) xattrs(inode *tree.Inode) map[string]string {
	attrs := map[string]string{}
	attrs["trusted.x"] = g.value(g.shape.MaxXattr)
	if g.IntN(2) == 0 {
		attrs["security.long-"+strings.Repeat("n", g.IntN(200))] = g.value(20)
	}
	plain := inode.IsRegular() || inode.IsDir()
	if plain && g.IntN(2) == 0 {
		attrs["user.a"], attrs["user.b"] = "", g.value(100)
	}
	if inode.IsRegular() && g.IntN(2) == 0 {
		attrs["security.capability"] = capability(g.Uint32())
	}
	if plain && g.IntN(2) == 0 {
		attrs["system.posix_acl_access"] = acl(inode.Mode, g.Uint32N(70_000))
	}
	if inode.IsDir() && g.IntN(2) == 0 {
		attrs["system.posix_acl_default"] = acl(inode.Mode, g.Uint32N(70_000))
	}
	return attrs
}

func (g *generator) value(longest int) string {
	value := make([]byte, g.IntN(longest+1))
	for i := range value {
		value[i] = byte(g.Uint32())
	}
	return string(value)
}

// capability returns a value of security.capability: vfs_cap_data revision 2
// of linux/capability.h.
func capability(permitted uint32) string {
	value := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	value = binary.LittleEndian.AppendUint32(value, permitted)
	return string(append(value, make([]byte, 12)...))
}

// acl returns an access control list that agrees with the permission bits of
// mode and names one user, in the form of linux/posix_acl_xattr.h version 2.
func acl(mode, user uint32) string {
	value := binary.LittleEndian.AppendUint32(nil, 2)
	entry := func(tag uint16, perm, id uint32) {
		value = binary.LittleEndian.AppendUint16(value, tag)
		value = binary.LittleEndian.AppendUint16(value, uint16(perm&7))
		value = binary.LittleEndian.AppendUint32(value, id)
	}
	const nobody = 1<<32 - 1
	entry(0x01, mode>>6, nobody) // user_obj
	entry(0x02, 5, user)         // user
	entry(0x04, 1, nobody)       // group_obj
	entry(0x10, mode>>3, nobody) // mask
	entry(0x20, mode, nobody)    // other
	return string(value)
}
