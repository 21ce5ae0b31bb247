package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/ladle-dev/ladle/test/cold"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/report"
)

// print prints the table of one link. Times and requests are compared with those of the
// last column, and that of plain with the best overlayfs.
func (b bench) print(p link.Profile, columns []*column) {
	last := columns[len(columns)-1]
	want := cold.Median(last.samples)
	var t report.Table
	t.Row(p.String(), "time to ready", "(range)", "of it pull", "bytes", "requests", "in flight", "time / "+last.name, "requests / "+last.name)
	for _, c := range columns {
		m := cold.Median(c.samples)
		t.Row(c.name, report.Seconds(m.Ready), timeRange(c.samples), report.Seconds(m.Pull), report.Bytes(m.Counters.BytesDown),
			fmt.Sprint(m.Counters.Requests), fmt.Sprint(m.Counters.MaxInFlight),
			report.Ratio(m.Ready.Seconds(), want.Ready.Seconds()),
			report.Ratio(float64(m.Counters.Requests), float64(want.Counters.Requests)))
	}
	fmt.Println()
	t.Print(os.Stdout)
	b.compare(columns)
	b.compareWithLink(p, columns)
}

// compareWithLink prints the part of a link that the bytes of -weights take up.
func (b bench) compareWithLink(p link.Profile, columns []*column) {
	if b.weights == 0 || p.Bandwidth == 0 {
		return
	}
	least := float64(b.weights<<23) / float64(p.Bandwidth) // seconds
	for _, c := range columns {
		m := cold.Median(c.samples)
		fmt.Printf("%s: the link carries the file in %.2f s, %.2f of the time of the pull, and %.2f of the time until it is read\n",
			c.name, least, least/m.Pull.Seconds(), least/m.Ready.Seconds())
	}
}

// compare prints the time of plain as a multiple of the overlayfs columns.
func (b bench) compare(columns []*column) {
	plain := slices.IndexFunc(columns, func(c *column) bool { return c.name == "plain" })
	if plain < 0 {
		return
	}
	ready := cold.Median(columns[plain].samples).Ready.Seconds()
	for _, c := range columns {
		if c.start.Snapshotter == "overlayfs" {
			fmt.Printf("plain takes %.2f of the time of %s\n", ready/cold.Median(c.samples).Ready.Seconds(), c.name)
		}
	}
}

func timeRange(samples []cold.Sample) string {
	by := func(a, b cold.Sample) int { return int(a.Ready - b.Ready) }
	shortest, longest := slices.MinFunc(samples, by).Ready, slices.MaxFunc(samples, by).Ready
	return fmt.Sprintf("%.2f-%.2f", shortest.Seconds(), longest.Seconds())
}
