package warm

import (
	"fmt"
	"math"
)

// unit says how samples are shown.
type unit struct {
	name    string
	scale   float64 // what a sample is multiplied with
	inverse bool    // the inverse of a sample is shown: a speed
}

var (
	seconds = unit{name: "s", scale: 1}
	millis  = unit{name: "ms", scale: 1e3}
	micros  = unit{name: "us", scale: 1e6}
	number  = unit{scale: 1}
	mebi    = unit{name: "MiB", scale: 1. / (1 << 20)}
	speed   = unit{name: "GB/s", scale: 1e9, inverse: true} // of seconds for a byte
)

func (u unit) show(sample float64) string {
	if u.name == "" {
		return u.digits(sample)
	}
	return u.digits(sample) + " " + u.name
}

// digits writes two or three digits, or all before the point.
func (u unit) digits(sample float64) string {
	v := sample * u.scale
	if u.inverse {
		v = 1 / v
	}
	switch {
	case u == number || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// compare is ladle's figure divided by that of overlayfs, as they are shown.
func (u unit) compare(f figures, of figure) float64 {
	if u.inverse {
		return f.ratio(of, Overlayfs, of, Ladle)
	}
	return f.ratio(of, Ladle, of, Overlayfs)
}

// times writes a ratio; NaN stands for what was not measured.
func times(ratio float64) string {
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return "-"
	}
	return fmt.Sprintf("%.2f x", ratio)
}

// goal is what a figure of ladle should reach.
type goal struct {
	text string
	// reached is what is compared with the limit; nil where there is no goal.
	reached func(f figures, of figure) float64
	limit   float64
	least   bool // the limit is the least, not the most
	show    func(reached float64) string
}

var none goal

// atMost is a multiple of the time that overlayfs needs.
func atMost(limit float64) goal {
	return goal{text: fmt.Sprintf("at most %v x", limit), reached: seconds.compare, limit: limit, show: times}
}

// asFast is a multiple of the speed of overlayfs.
func asFast(limit float64) goal {
	return goal{text: fmt.Sprintf("at least %v x", limit), reached: speed.compare, limit: limit, least: true, show: times}
}

// atMostTimes is a multiple of another figure of ladle.
func atMostTimes(limit float64, another figure) goal {
	return goal{
		text:    fmt.Sprintf("at most %v x one layer", limit),
		reached: func(f figures, of figure) float64 { return f.ratio(of, Ladle, another, Ladle) },
		limit:   limit, show: times,
	}
}

// below is a limit in itself, which must not be reached.
func below(limit float64, u unit) goal {
	return goal{
		text:    "below " + u.show(limit),
		reached: func(f figures, of figure) float64 { return f.median(of, Ladle) },
		limit:   math.Nextafter(limit, 0), show: u.show,
	}
}

// met is false for what was not measured.
func (g goal) met(f figures, of figure) bool {
	reached := g.reached(f, of)
	if g.least {
		return reached >= g.limit
	}
	return reached <= g.limit
}

// verdict is the cells that tell of the goal.
func (g goal) verdict(f figures, of figure) []string {
	if g.reached == nil {
		return nil
	}
	reached := g.reached(f, of)
	switch {
	case math.IsNaN(reached):
		return []string{g.text, "-", "not measured"}
	case g.met(f, of):
		return []string{g.text, g.show(reached), "met"}
	}
	return []string{g.text, g.show(reached), "MISSED"}
}
