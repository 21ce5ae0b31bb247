package convert

import (
	"path"
	"strings"
)

const whiteout = ".wh."

// order returns the entries of the result: first those that the list of paths names, with
// what they need (the directories above them, and targets of hard links), then the others.
// first is the number of the former.
//
// A layer in which the order of entries has a meaning keeps it: one that has two entries
// with the same name, or an entry and its whiteout. First is zero then.
func order(entries []entry, paths []string) (all []entry, first int) {
	for _, e := range entries {
		if !e.dropped() {
			all = append(all, e)
		}
	}
	if len(paths) == 0 {
		return all, 0
	}
	p := &picking{entries: all, named: map[string]int{}, picked: make([]bool, len(all))}
	for i, e := range all {
		if _, twice := p.named[e.name]; twice {
			return all, 0
		}
		p.named[e.name] = i
	}
	for _, e := range all {
		dir, name := path.Split(e.name)
		if hidden, ok := strings.CutPrefix(name, whiteout); ok {
			if _, there := p.named[dir+hidden]; there {
				return all, 0
			}
		}
	}
	for _, name := range paths {
		p.pick(clean(name))
	}
	for i, e := range all {
		if !p.picked[i] {
			p.rest = append(p.rest, e)
		}
	}
	return append(p.first, p.rest...), len(p.first)
}

// picking picks entries of a layer.
type picking struct {
	entries     []entry
	named       map[string]int // index of the entry, by name
	picked      []bool         // by index
	first, rest []entry
}

// pick picks the entry with a name, after what it needs. Cycles end, since an entry counts
// as picked before what it needs.
func (p *picking) pick(name string) {
	i, ok := p.named[name]
	if !ok || p.picked[i] {
		return
	}
	p.picked[i] = true
	e := p.entries[i]
	if dir := path.Dir(name); dir != "." {
		p.pick(dir)
	}
	if e.link != "" {
		p.pick(e.link)
	}
	p.first = append(p.first, e)
}
