package warm

import (
	"math"
	"os"
	"strings"
	"testing"
)

// TestMain runs the probes, which are children of the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		if err := Probe(os.Args[2:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryFigureIsMeasured is the benchmark in small. It looks for gaps in the
// table, and at what does not depend on time.
func TestEveryFigureIsMeasured(t *testing.T) {
	o := Quick()
	o.Subjects = []string{Overlayfs, Stargz, Ladle}
	o.Steps = []string{Walk, Reads, Layers}
	o.Probe = []string{os.Args[0], "probe"}
	o.Say = t.Logf
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, subject := range o.Subjects {
			if subject == Overlayfs && row.unit == mebi {
				continue // it has no daemon
			}
			v := r.figures.median(row.figure, subject)
			if math.IsNaN(v) || v < 0 || v == 0 && row.figure != walkRequests {
				t.Errorf("%s of %s is %v", row.figure, subject, v)
			}
		}
	}
	if n := r.figures.median(walkRequests, Ladle); n != 0 {
		t.Errorf("a walk sent %v requests to FUSE", n)
	}
	if n := r.figures.median(walkRequests, Stargz); n < 100 {
		t.Errorf("the peer's walk sent %v requests: they are not counted", n)
	}
	var table strings.Builder
	r.Print(&table)
	t.Log("\n" + table.String())
}

func TestReport(t *testing.T) {
	r := &Report{Options: Options{Rounds: 3, Subjects: []string{Overlayfs, Stargz, Ladle}}, figures: figures{}}
	for i := range 3 {
		f := 1 + float64(i)/10
		for subject, slower := range map[string]float64{Overlayfs: 1, Stargz: 10, Ladle: 1.2} {
			r.figures.add(opensWarm, subject, 10e-6*f*slower)
			r.figures.add(streamCold, subject, 1e-9*f*slower)
			r.figures.add(flatNamesCold, subject, f*slower)
			r.figures.add(spreadNamesCold, subject, 2*f*slower)
		}
	}
	r.figures.add(walkRequests, Ladle, 0)
	var table strings.Builder
	r.Print(&table)
	for _, line := range []string{
		"open+read+close, warm   11.0 us (10.0-12.0) 110 us (100-120) 13.2 us (12.0-14.4) 1.20 x at most 1.1 x 1.20 x MISSED",
		"sequential read, everything cold 0.91 GB/s (0.83-1.00) 0.09 GB/s (0.08-0.10) 0.76 GB/s (0.69-0.83) 0.83 x at least 0.4 x 0.83 x met",
		"many layers: walk, names cold 2.20 s (2.00-2.40) 22.0 s (20.0-24.0) 2.64 s (2.40-2.88) 1.20 x at most 1.2 x one layer 2.00 x MISSED",
		"FUSE requests of a cold walk - - 0 - below 1 0 met",
	} {
		if !strings.Contains(squeeze(table.String()), squeeze(line)) {
			t.Errorf("the table lacks %q:\n%s", line, table.String())
		}
	}
}

// squeeze makes one space of several.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
