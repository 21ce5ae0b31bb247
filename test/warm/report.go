package warm

import (
	"fmt"
	"io"

	"github.com/ladle-dev/ladle/test/report"
)

// Report is what Run measured.
type Report struct {
	Options
	figures figures
}

// row is a row of the table.
type row struct {
	figure figure
	unit   unit
	goal   goal
}

// rows are all rows, in the order of the table.
var rows = []row{
	{walkAllCold, seconds, atMost(1.1)},
	{walkNamesCold, seconds, atMost(1.1)},
	{walkWarm, seconds, none},
	{walkRequests, number, below(1, number)},
	{opensCold, micros, none},
	{opensWarm, micros, atMost(1.1)},
	{streamCold, speed, asFast(0.4)},
	{streamWarm, speed, asFast(0.95)},
	{touchCold, micros, none},
	{flatNamesCold, seconds, none},
	{spreadNamesCold, seconds, atMostTimes(1.2, flatNamesCold)},
	{flatMount, millis, none},
	{spreadMount, millis, below(20e-3, millis)},
	{spreadPrepare, millis, none},
	{spreadFirst, millis, none},
	{spreadPull, seconds, none},
	{daemonRSS, mebi, none},
	{daemonPSS, mebi, none},
}

// Print writes the table: the median of each figure and its range, and medians
// of the rounds' ratios.
func (r *Report) Print(w io.Writer) {
	var t report.Table
	heading := append([]string{fmt.Sprintf("median of %d (range)", r.Rounds)}, r.Subjects...)
	t.Row(append(heading, Ladle+"/"+Overlayfs, "goal", "reached", "")...)
	for _, row := range rows {
		if len(r.figures[row.figure]) == 0 {
			continue
		}
		cells := []string{string(row.figure)}
		for _, subject := range r.Subjects {
			cells = append(cells, r.cell(row, subject))
		}
		cells = append(cells, times(row.unit.compare(r.figures, row.figure)))
		t.Row(append(cells, row.goal.verdict(r.figures, row.figure)...)...)
	}
	t.Print(w)
}

func (r *Report) cell(row row, subject string) string {
	samples := r.figures[row.figure][subject]
	switch len(samples) {
	case 0:
		return "-"
	case 1:
		return row.unit.show(samples[0])
	}
	lowest, highest := r.figures.span(row.figure, subject)
	if row.unit.inverse {
		lowest, highest = highest, lowest
	}
	return fmt.Sprintf("%s (%s-%s)", row.unit.show(r.figures.median(row.figure, subject)),
		row.unit.digits(lowest), row.unit.digits(highest))
}
