package stack

import (
	"strconv"
	"strings"
)

// diffName names the clean diff of a pair of snapshots by their numbers; 0 is the empty
// snapshot. Since a number is given to one snapshot only, a name always means the same
// diff.
type diffName struct {
	lower, upper uint64
	apart        bool // the diff has copies where another one has links: see Planner.markApart
}

const apartSuffix = "a"

// String returns the name of the directory of the diff.
func (n diffName) String() string {
	name := strconv.FormatUint(n.lower, 10) + "-" + strconv.FormatUint(n.upper, 10)
	if n.apart {
		name += apartSuffix
	}
	return name
}

// parseDiffName is the inverse of String.
func parseDiffName(s string) (n diffName, ok bool) {
	s, n.apart = strings.CutSuffix(s, apartSuffix)
	lower, upper, _ := strings.Cut(s, "-")
	var errs [2]error
	n.lower, errs[0] = strconv.ParseUint(lower, 10, 64)
	n.upper, errs[1] = strconv.ParseUint(upper, 10, 64)
	return n, errs == [2]error{}
}
