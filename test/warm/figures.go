package warm

import (
	"math"
	"slices"
)

// figure is something that is measured, as the report names it.
type figure string

const (
	walkAllCold   figure = "walk, everything cold"
	walkNamesCold figure = "walk, names cold"
	walkWarm      figure = "walk, warm"
	walkRequests  figure = "FUSE requests of a cold walk"

	opensCold  figure = "open+read+close, everything cold"
	opensWarm  figure = "open+read+close, warm"
	streamCold figure = "sequential read, everything cold"
	streamWarm figure = "sequential read, warm"
	touchCold  figure = "mmap, random pages, everything cold"

	flatNamesCold   figure = "one layer: walk, names cold"
	flatMount       figure = "one layer: Prepare and mount"
	spreadNamesCold figure = "many layers: walk, names cold"
	spreadPull      figure = "many layers: pull, once"
	spreadFirst     figure = "many layers: first Prepare and mount"
	spreadMount     figure = "many layers: Prepare and mount"
	spreadPrepare   figure = "many layers: of it Prepare"

	daemonRSS figure = "memory of the daemon, RSS"
	daemonPSS figure = "memory of the daemon, PSS"
)

// figures are samples by figure and subject, one for each round: seconds, bytes
// or a number.
type figures map[figure]map[string][]float64

func (f figures) add(to figure, subject string, sample float64) {
	if f[to] == nil {
		f[to] = map[string][]float64{}
	}
	f[to][subject] = append(f[to][subject], sample)
}

// median is NaN if there is no sample.
func (f figures) median(of figure, subject string) float64 {
	if len(f[of][subject]) == 0 {
		return math.NaN()
	}
	return median(f[of][subject])
}

func (f figures) span(of figure, subject string) (lowest, highest float64) {
	return slices.Min(f[of][subject]), slices.Max(f[of][subject])
}

// ratio is the median of the rounds' ratios of one subject's figure to
// another's; NaN if there are none.
func (f figures) ratio(of figure, subject string, to figure, other string) float64 {
	above, below := f[of][subject], f[to][other]
	var ratios []float64
	for i := range min(len(above), len(below)) {
		ratios = append(ratios, above[i]/below[i])
	}
	if len(ratios) == 0 {
		return math.NaN()
	}
	return median(ratios)
}
