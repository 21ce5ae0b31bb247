package sametree

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what a walk leaves out.
type Options struct {
	// Since is when the container was about to be made: mtimes from then on
	// are the runtime's, in the root and in directories with mount points.
	Since time.Time
	// NoContent lists no digests.
	NoContent bool
}

// walk is one walk of a root filesystem.
type walk struct {
	root    string
	options Options
	mounts  map[string]bool // below root, as paths from root
	entries []entry
	links   map[inode][]string // names of each inode that is no directory
	buf     []byte             // of blockSize, for what is read of one file
}

type inode struct{ dev, ino uint64 }

type entry struct {
	path string // from root, with a leading slash
	stat unix.Stat_t
}

// List walks the filesystem below root and writes its listing, one line for
// each path, to w. What cannot be read is listed with the error: an error is
// returned only if there is no listing.
func List(w io.Writer, root string, options Options) error {
	mounts, err := mountsBelow(root)
	if err != nil {
		return err
	}
	t := &walk{root: root, options: options, mounts: mounts, links: map[inode][]string{}, buf: make([]byte, blockSize)}
	if err := filepath.WalkDir(root, t.visit); err != nil {
		return fmt.Errorf("sametree: %w", err)
	}
	out := bufio.NewWriter(w)
	for _, e := range t.entries {
		fmt.Fprintln(out, t.line(e))
	}
	return out.Flush()
}

func (t *walk) visit(path string, d fs.DirEntry, err error) error {
	inside := "/" + strings.TrimPrefix(strings.TrimPrefix(path, t.root), "/")
	if err != nil {
		if d == nil {
			return err // the root itself
		}
		t.entries = append(t.entries, entry{path: inside + " (entries)"})
		return nil
	}
	e := entry{path: inside}
	if t.mounts[inside] {
		t.entries = append(t.entries, e)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if err := unix.Lstat(path, &e.stat); err != nil {
		t.entries = append(t.entries, e)
		return nil
	}
	if !d.IsDir() {
		id := inode{e.stat.Dev, e.stat.Ino}
		t.links[id] = append(t.links[id], inside)
	}
	t.entries = append(t.entries, e)
	return nil
}

// touched reports whether the runtime may have changed the mtime of e.
func (t *walk) touched(e entry) bool {
	if time.Unix(e.stat.Mtim.Unix()).Before(t.options.Since) || t.options.Since.IsZero() {
		return false
	}
	if e.path == "/" {
		return true
	}
	for point := range t.mounts {
		if filepath.Dir(point) == e.path {
			return true
		}
	}
	return false
}

// mountsBelow returns the mount points below root as this process sees them.
func mountsBelow(root string) (map[string]bool, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("sametree: %w", err)
	}
	root = strings.TrimSuffix(root, "/")
	points := map[string]bool{}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point, ok := strings.CutPrefix(unescape.Replace(fields[4]), root+"/"); ok && point != "" {
			points["/"+point] = true
		}
	}
	return points, nil
}

// names returns the names of e's inode if there are several, in order.
func (t *walk) names(e entry) []string {
	names := t.links[inode{e.stat.Dev, e.stat.Ino}]
	if len(names) < 2 {
		return nil
	}
	slices.Sort(names)
	return names
}
