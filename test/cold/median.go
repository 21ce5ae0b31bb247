package cold

import (
	"time"

	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/report"
)

// Median is the sample of the middle of each figure on its own; of an even
// number of samples the lower middle. There must be one at least.
func Median(samples []Sample) Sample {
	return Sample{
		Pull:  report.Median(samples, func(s Sample) time.Duration { return s.Pull }),
		Ready: report.Median(samples, func(s Sample) time.Duration { return s.Ready }),
		Counters: link.Counters{
			Connections: report.Median(samples, func(s Sample) int64 { return s.Counters.Connections }),
			Requests:    report.Median(samples, func(s Sample) int64 { return s.Counters.Requests }),
			BytesUp:     report.Median(samples, func(s Sample) int64 { return s.Counters.BytesUp }),
			BytesDown:   report.Median(samples, func(s Sample) int64 { return s.Counters.BytesDown }),
			MaxInFlight: report.Median(samples, func(s Sample) int { return s.Counters.MaxInFlight }),
		},
		Output: samples[0].Output,
	}
}
