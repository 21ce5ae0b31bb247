package layer

import (
	"context"
	"path"
	"regexp"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// files are a layer's files that are fetched before, or with more, than
// somebody has asked for.
type files struct {
	// libraries are shared objects and links to them, by name. Where several
	// have one name it is the one nearest to the root.
	libraries map[string]extent
	// programs are the sizes in bytes of programs and shared objects, by
	// where they start in the data file.
	programs map[int64]int64
	// first are the files that nearly every container reads first.
	first []extent
}

// extent is where a regular file is in the data file, in bytes. Inodes are not
// kept: each would keep its whole tree.
type extent struct{ off, size int64 }

func extentOf(file *tree.Inode) extent { return extent{file.Data.Offset, file.Size} }

// firstPaths are what a container runtime reads to find out who the user is,
// what a shell needs to start, what the C library reads for a program that asks
// for the time or for a locale in UTF-8, and OpenSSL's for any use of it.
var firstPaths = []string{
	"etc/passwd", "etc/group", "etc/ld.so.cache", "bin/sh", "usr/bin/sh",
	"etc/localtime", "usr/lib/locale/C.utf8/LC_CTYPE", "etc/ssl/openssl.cnf",
}

// hasFirstName reports whether a name is that of one more of them, whose directories
// are named after the architecture: the dynamic linker, the C library, and what it
// converts text with.
func hasFirstName(name string) bool {
	return name == "libc.so.6" || name == "gconv-modules.cache" || strings.HasPrefix(name, "ld-") && dynamicLinker.MatchString(name)
}

var dynamicLinker = regexp.MustCompile(`^ld-(linux|musl)-.+\.so\.\d$`)

// maxFirsts bounds how many files have such names.
const maxFirsts = 32

// filesKept is of how many layers the files are kept: some tens of kilobytes
// for each.
const filesKept = 128

func newFiles() *lru.Cache[store.ID, files] {
	c, err := lru.New[store.ID, files](filesKept)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return c
}

// files returns the layer's files. They are looked for once, also if several ask
// at the same time.
func (l *Layer) files() (files, error) {
	if f, ok := l.set.files.Get(l.ID()); ok {
		return f, nil
	}
	f, err, _ := l.set.once.find.Do(flight(l.ID()), func() (any, error) {
		root, err := l.Tree()
		if err != nil {
			return files{}, err
		}
		f, err := findFiles(l.ctx, root)
		if err == nil {
			l.set.files.Add(l.ID(), f)
		}
		return f, err
	})
	return f.(files), err
}

// program returns the chunks to fetch of the program that starts with the n-th
// chunk; it is not ok if none is known to be there.
func (l *Layer) program(n int) (s span, ok bool) {
	f, _ := l.set.files.Peek(l.ID())
	off := l.table.At(n).DataOffset
	size, ok := f.programs[off]
	return l.overlap(off, min(size, maxAhead)), ok
}

// maxLibraryLinks bounds the links to libraries that are followed in a layer. A
// hostile one may have millions, each a detour.
const maxLibraryLinks = 10_000

// maxPrograms and maxLibraries bound what is kept of a layer that has millions of
// either: a few megabytes.
const (
	maxPrograms  = 1 << 16
	maxLibraries = 1 << 14
)

// findFiles looks through the tree of a layer, until ctx ends.
func findFiles(ctx context.Context, root *tree.Inode) (files, error) {
	f := files{libraries: map[string]extent{}, programs: map[int64]int64{}}
	depths := map[string]int{}
	links := 0
	err := tree.Walk(root, func(p string, inode *tree.Inode) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := p[strings.LastIndexByte(p, '/')+1:]
		dir, library := p[:len(p)-len(name)], strings.Contains(name, ".so")
		if hasBytes(inode) {
			if (library || inode.Mode&0o111 != 0) && len(f.programs) < maxPrograms {
				f.programs[inode.Data.Offset] = inode.Size
			}
			if len(f.first) < maxFirsts && hasFirstName(name) {
				f.first = append(f.first, extentOf(inode))
			}
		}
		if !library {
			return nil
		}
		depth := strings.Count(dir, "/")
		if nearest, ok := depths[name]; ok && nearest <= depth {
			return nil
		}
		if inode.Target != "" {
			if links++; links > maxLibraryLinks {
				return nil
			}
		}
		if _, ok := f.libraries[name]; !ok && len(f.libraries) >= maxLibraries {
			return nil
		}
		if file := target(root, dir, inode); file != nil {
			name = strings.Clone(name) // it may be part of the encoded tree
			f.libraries[name], depths[name] = extentOf(file), depth
		}
		return nil
	})
	if err != nil {
		return files{}, err
	}
	for _, p := range firstPaths {
		if file := target(root, path.Dir(p), lookup(root, p)); file != nil {
			f.first = append(f.first, extentOf(file))
		}
	}
	return f, nil
}

// maxLinks is how many symbolic links are followed, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// target returns the regular file with contents that inode, which is in dir, is
// or links to; nil if that is not in the tree. Links in the middle of a path
// are not followed.
func target(root *tree.Inode, dir string, inode *tree.Inode) *tree.Inode {
	for n := 0; n < maxLinks && inode != nil && inode.Target != ""; n++ {
		p := inode.Target
		if !path.IsAbs(p) {
			p = path.Join("/", dir, p)
		}
		p = path.Clean(p)[1:]
		dir, inode = path.Dir(p), lookup(root, p)
	}
	if inode == nil || !hasBytes(inode) {
		return nil
	}
	return inode
}

// hasBytes reports whether an inode is a regular file with contents.
func hasBytes(inode *tree.Inode) bool { return inode.IsRegular() && inode.Size > 0 }

// lookup returns what has path p in the tree, or nil.
func lookup(root *tree.Inode, p string) *tree.Inode {
	inode := root
	for name := range strings.SplitSeq(p, "/") {
		if inode == nil || !inode.IsDir() {
			return nil
		}
		inode = inode.Dir.Lookup(name)
	}
	return inode
}
