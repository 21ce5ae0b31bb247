package cold

import (
	"cmp"
	"slices"
	"time"

	"github.com/ladle-dev/ladle/test/link"
)

// Median is the sample of the middle of each figure on its own; of an even
// number of samples the lower middle. There must be one at least.
func Median(samples []Sample) Sample {
	return Sample{
		Pull:  middle(samples, func(s Sample) time.Duration { return s.Pull }),
		Ready: middle(samples, func(s Sample) time.Duration { return s.Ready }),
		Counters: link.Counters{
			Connections: middle(samples, func(s Sample) int64 { return s.Counters.Connections }),
			Requests:    middle(samples, func(s Sample) int64 { return s.Counters.Requests }),
			BytesUp:     middle(samples, func(s Sample) int64 { return s.Counters.BytesUp }),
			BytesDown:   middle(samples, func(s Sample) int64 { return s.Counters.BytesDown }),
			MaxInFlight: middle(samples, func(s Sample) int { return s.Counters.MaxInFlight }),
		},
		Output: samples[0].Output,
	}
}

func middle[T cmp.Ordered](samples []Sample, of func(Sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
