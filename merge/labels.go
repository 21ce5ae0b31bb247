package merge

import (
	"fmt"
	"strconv"
	"strings"
)

// LabelPrefix begins the labels that request a merge; the number of a pair and ".lower"
// or ".upper" follow.
const LabelPrefix = "containerd.io/snapshot/ladle.merge."

// AnswerLabel is on every snapshot that was prepared as a merge, active or committed. No
// client can set it.
const AnswerLabel = "containerd.io/snapshot/ladle.merged"

// Keys is one requested pair, by the client's keys of its snapshots.
type Keys struct {
	Lower string // empty: the empty snapshot
	Upper string // empty: the empty snapshot
}

// maxPairs bounds the pairs of one request.
const maxPairs = 4096

// ParseLabels returns the pairs that the labels request, in order; none if they request
// no merge. Pairs are numbered from 0 without a gap.
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
			return nil, fmt.Errorf("label %s: not the number of a pair", key)
		}
		pair := found[n]
		switch side {
		case "lower":
			pair.Lower = value
		case "upper":
			pair.Upper = value
		default:
			return nil, fmt.Errorf("label %s: ends neither in lower nor in upper", key)
		}
		found[n] = pair
	}
	pairs := make([]Keys, len(found))
	for n := range pairs {
		pair, ok := found[n]
		if !ok {
			return nil, fmt.Errorf("labels %s*: %d pairs, but number %d is missing", LabelPrefix, len(found), n)
		}
		pairs[n] = pair
	}
	return pairs, nil
}

// Labels returns the labels that request pairs.
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
