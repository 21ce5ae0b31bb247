package stack

import (
	"os"
	"strings"

	"github.com/ladle-dev/ladle/hardlink"
)

// Strays returns the directories among the clean diffs that are to be deleted: clean diffs
// of pairs of which a snapshot does not exist, and directories that were made for one call,
// unless they are pinned or stacked. It is called in a writable transaction of the metadata,
// and with Pins.Exclude, so that no call finds or makes what it returns.
func (p *Planner) Strays(exists func(id uint64) bool, stacked func(diff string) bool) ([]string, error) {
	entries, err := os.ReadDir(p.opts.Dirs.Diff(""))
	if err != nil {
		return nil, err
	}
	needed := func(name string) bool { return name == Empty || stacked(name) || p.opts.Pins.hasDiff(name) }
	isStray := func(name diffName) bool {
		gone := func(id uint64) bool { return id != 0 && !exists(id) }
		return (gone(name.lower) || gone(name.upper)) && !needed(name.String())
	}
	p.diffs.drop(isStray)
	var stray []string
	for _, e := range entries {
		name, ok := parseDiffName(e.Name())
		if ok && isStray(name) || !ok && !needed(e.Name()) && !strings.HasPrefix(e.Name(), hardlink.Prefix) {
			stray = append(stray, p.opts.Dirs.Diff(e.Name()))
		}
	}
	return stray, nil
}
