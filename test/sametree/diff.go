package sametree

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Listing is a parsed listing: the attributes of each path.
type Listing map[string]map[string]string

// Parse reads what List wrote.
func Parse(text string) (Listing, error) {
	l := Listing{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), separator)
		path, err := strconv.Unquote(fields[0])
		if err != nil {
			return nil, fmt.Errorf("sametree: line %q: %w", line, err)
		}
		attributes := make(map[string]string, len(fields)-1)
		for _, field := range fields[1:] {
			name, value, _ := strings.Cut(field, "=")
			attributes[name] = value
		}
		l[path] = attributes
	}
	return l, nil
}

// Difference is one path that is not the same.
type Difference struct {
	Path string
	// Attributes are those that differ, as "name: one, other".
	Attributes []string
}

func (d Difference) String() string {
	return fmt.Sprintf("%q: %s", d.Path, strings.Join(d.Attributes, "; "))
}

// Diff returns the paths in which two listings differ, in order.
func Diff(one, other Listing) []Difference {
	paths := maps.Clone(one)
	maps.Copy(paths, other)
	var all []Difference
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		a, inOne := one[path]
		b, inOther := other[path]
		d := Difference{Path: path}
		switch {
		case !inOther:
			d.Attributes = []string{"only in the first: " + a["type"]}
		case !inOne:
			d.Attributes = []string{"only in the second: " + b["type"]}
		default:
			d.Attributes = compare(a, b)
		}
		if len(d.Attributes) > 0 {
			all = append(all, d)
		}
	}
	return all
}

func compare(a, b map[string]string) []string {
	names := maps.Clone(a)
	maps.Copy(names, b)
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a[name] != b[name] {
			differ = append(differ, fmt.Sprintf("%s: %s, %s", name, shown(a, name), shown(b, name)))
		}
	}
	return differ
}

func shown(attributes map[string]string, name string) string {
	const most = 200
	value, ok := attributes[name]
	if !ok {
		return "(none)"
	}
	if len(value) > most {
		return value[:most] + "..."
	}
	return value
}

// Report describes the first 20 differences, one a line; it is empty if there
// are none.
func Report(differences []Difference) string {
	const most = 20
	var b strings.Builder
	for i, d := range differences {
		if i == most {
			fmt.Fprintf(&b, "and %d more paths\n", len(differences)-most)
			break
		}
		fmt.Fprintln(&b, d)
	}
	return b.String()
}

// Counts says how many paths of each type a listing has, and how many
// extended attributes and link groups.
func (l Listing) Counts() string {
	types, xattrs, groups := map[string]int{}, 0, map[string]bool{}
	for _, attributes := range l {
		types[attributes["type"]]++
		for name, value := range attributes {
			if strings.HasPrefix(name, "xattr ") {
				xattrs++
			}
			if name == "links" {
				groups[value] = true
			}
		}
	}
	parts := []string{}
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		parts = append(parts, fmt.Sprintf("%d %s", types[typ], typ))
	}
	return fmt.Sprintf("%s, %d xattrs, %d link groups", strings.Join(parts, ", "), xattrs, len(groups))
}

// Failures returns the paths with an attribute that could not be read.
func (l Listing) Failures() []string {
	var failed []string
	for _, path := range slices.Sorted(maps.Keys(l)) {
		for name, value := range l[path] {
			if strings.HasPrefix(value, "!") || value == "unreadable" {
				failed = append(failed, fmt.Sprintf("%q: %s=%s", path, name, value))
			}
		}
	}
	return failed
}

// Mtime returns the mtime among a path's attributes.
func Mtime(attributes map[string]string) time.Time {
	sec, nsec, _ := strings.Cut(attributes["mtime"], ".")
	s, err1 := strconv.ParseInt(sec, 10, 64)
	n, err2 := strconv.ParseInt(nsec, 10, 64)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	return time.Unix(s, n)
}
