package layer

import (
	"context"
	"path"
	"regexp"
	"strings"

	"github.com/ladle-dev/ladle/tree"
)

// files are the files of a layer that are fetched ahead.
type files struct {
	// libraries are shared objects, and links to them, by file name. Of several with
	// one name, it has the one nearest to the root.
	libraries map[string]extent
	// programs are the sizes in bytes of programs and shared objects, by their offset
	// in the data file.
	programs map[int64]int64
	// startup are the files that nearly every container reads first.
	startup []extent
}

// extent is the range of a regular file in the data file, in bytes. It is stored instead
// of the inode, which references the whole tree.
type extent struct{ off, size int64 }

func extentOf(file *tree.Inode) extent { return extent{file.Data.Offset, file.Size} }

// startupPaths are files that a container runtime reads to look up the user, that a shell
// needs to start, that the C library reads for the time zone or a UTF-8 locale, and the
// configuration of OpenSSL.
var startupPaths = []string{
	"etc/passwd", "etc/group", "etc/ld.so.cache", "bin/sh", "usr/bin/sh",
	"etc/localtime", "usr/lib/locale/C.utf8/LC_CTYPE", "etc/ssl/openssl.cnf",
}

// hasStartupName reports whether name is that of a further startup file, in a directory
// that is named after the architecture: the dynamic linker, the C library, and its
// configuration of gconv.
func hasStartupName(name string) bool {
	return name == "libc.so.6" || name == "gconv-modules.cache" || strings.HasPrefix(name, "ld-") && dynamicLinker.MatchString(name)
}

var dynamicLinker = regexp.MustCompile(`^ld-(linux|musl)-.+\.so\.\d$`)

// maxStartup bounds the files with such names in a layer.
const maxStartup = 32

// files returns the layer's files. Concurrent calls share one search.
func (l *Layer) files() (files, error) {
	if f, ok := l.set.caches.files.Get(l.ID()); ok {
		return f, nil
	}
	f, err, _ := l.set.once.find.Do(keyOf(l.ID()), func() (any, error) {
		root, err := l.Tree()
		if err != nil {
			return files{}, err
		}
		f, err := findFiles(l.ctx, root)
		if err == nil {
			l.set.caches.files.Add(l.ID(), f)
		}
		return f, err
	})
	return f.(files), err
}

// program returns the chunks to fetch of the program that starts with the n-th chunk; ok
// is false if no program is known to start there.
func (l *Layer) program(n int) (s span, ok bool) {
	f, _ := l.set.caches.files.Peek(l.ID())
	off := l.table.At(n).DataOffset
	size, ok := f.programs[off]
	return l.overlap(off, min(size, maxAhead)), ok
}

// maxLibraryLinks bounds the links to libraries that are followed in a layer. A hostile
// layer could have millions.
const maxLibraryLinks = 10_000

// maxPrograms and maxLibraries bound the cached files of a hostile layer, to a few megabytes.
const (
	maxPrograms  = 1 << 16
	maxLibraries = 1 << 14
)

// findFiles searches the tree of a layer, until ctx ends.
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
			if len(f.startup) < maxStartup && hasStartupName(name) {
				f.startup = append(f.startup, extentOf(inode))
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
			name = strings.Clone(name) // it can be a substring of the encoded tree
			f.libraries[name], depths[name] = extentOf(file), depth
		}
		return nil
	})
	if err != nil {
		return files{}, err
	}
	for _, p := range startupPaths {
		if file := target(root, path.Dir(p), lookup(root, p)); file != nil {
			f.startup = append(f.startup, extentOf(file))
		}
	}
	return f, nil
}

// maxLinks bounds the symbolic links that are followed, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// target returns the regular, non-empty file that inode, an entry of dir, is or links to;
// nil if it is not in the tree. Links in the middle of a path are not followed.
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

// hasBytes reports whether an inode is a regular, non-empty file.
func hasBytes(inode *tree.Inode) bool { return inode.IsRegular() && inode.Size > 0 }

// lookup returns the inode at path p in the tree, or nil.
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
