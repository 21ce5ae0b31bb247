package report

import (
	"cmp"
	"slices"
)

// Median is the median of a figure of samples; of an even number of samples the
// lower middle. There must be one at least.
func Median[S any, T cmp.Ordered](samples []S, of func(S) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
