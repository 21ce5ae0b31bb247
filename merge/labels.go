package merge

import (
	"fmt"
	"strconv"
	"strings"
)

// LabelPrefix begins the labels by which a client asks for a merge; a number
// and ".lower" or ".upper" follow.
const LabelPrefix = "containerd.io/snapshot/ladle.merge."

// AnswerLabel is on every snapshot that was prepared as a merge, active or
// committed. No client can set it.
const AnswerLabel = "containerd.io/snapshot/ladle.merged"

// Keys is one pair of a request, by the client's names of its snapshots.
type Keys struct {
	Lower string // empty: from nothing
	Upper string // empty: to nothing
}

// maxPairs bounds what one request can ask for.
const maxPairs = 4096

// ParseLabels returns the pairs that labels ask for, in order, and none if they
// ask for no merge. Numbers begin with 0 and leave none out.
func ParseLabels(labels map[string]string) ([]Keys, error) {
	found := map[int]Keys{}
	for key, value := range labels {
		rest, ok := strings.CutPrefix(key, LabelPrefix)
		if !ok {
			continue
		}
		number, side, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= maxPairs || strconv.Itoa(n) != number {
			return nil, fmt.Errorf("label %s: no number of a pair", key)
		}
		pair := found[n]
		switch side {
		case "lower":
			pair.Lower = value
		case "upper":
			pair.Upper = value
		default:
			return nil, fmt.Errorf("label %s: neither lower nor upper", key)
		}
		found[n] = pair
	}
	pairs := make([]Keys, len(found))
	for n := range pairs {
		pair, ok := found[n]
		if !ok {
			return nil, fmt.Errorf("labels %s*: %d pairs, but none has the number %d", LabelPrefix, len(found), n)
		}
		pairs[n] = pair
	}
	return pairs, nil
}

// Labels returns the labels that ask for pairs.
func Labels(pairs []Keys) map[string]string {
	labels := map[string]string{}
	for n, pair := range pairs {
		labels[fmt.Sprint(LabelPrefix, n, ".upper")] = pair.Upper
		if pair.Lower != "" {
			labels[fmt.Sprint(LabelPrefix, n, ".lower")] = pair.Lower
		}
	}
	return labels
}
