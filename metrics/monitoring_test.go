package metrics

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc/codes"
)

const (
	alerts    = "../deploy/helm/ladle/monitoring/alerts.yaml"
	dashboard = "../deploy/helm/ladle/monitoring/dashboard.json"
)

var (
	selector = regexp.MustCompile(`\b((?:ladle|process|go)_[a-z_]+)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// vocabulary is what a daemon exports: the values of each label of each series.
type vocabulary map[string]map[string][]string

// exported is the vocabulary of a daemon, with the labels that Prometheus adds to each
// series, of which any value is allowed (nil).
func exported(t *testing.T) vocabulary {
	t.Helper()
	r := prometheus.NewRegistry()
	exercise(New(r))
	WatchStore(r, func() Disk { return Disk{} })
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	v := vocabulary{}
	for _, f := range families {
		labels := map[string][]string{"job": nil, "instance": nil}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		// Those that exercise has not all of.
		for name, all := range map[string][]string{"status": statuses(), "code": grpcCodes()} {
			if _, ok := labels[name]; ok {
				labels[name] = all
			}
		}
		if f.GetType().String() != "HISTOGRAM" {
			v[f.GetName()] = labels
			continue
		}
		v[f.GetName()+"_count"], v[f.GetName()+"_sum"] = labels, labels
		buckets := maps.Clone(labels)
		buckets["le"] = nil
		v[f.GetName()+"_bucket"] = buckets
	}
	return v
}

func statuses() []string { return []string{"1xx", "2xx", "3xx", "4xx", "5xx", "error"} }

func grpcCodes() (all []string) {
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		all = append(all, c.String())
	}
	return all
}

// TestMonitoringNamesWhatThereIs looks for each series that the alert rules and the
// dashboard name, with its labels and their values, among those that the daemon exports. A
// rule over a series that is not there never fires.
func TestMonitoringNamesWhatThereIs(t *testing.T) {
	v := exported(t)
	known := map[string]bool{"le": true}
	for _, labels := range v {
		for name := range labels {
			known[name] = true
		}
	}
	for _, file := range []string{alerts, dashboard} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), `\"`, `"`) // JSON in the one, YAML in the other
		found := selector.FindAllStringSubmatch(text, -1)
		if len(found) < 10 {
			t.Errorf("%s: %d series", file, len(found))
		}
		for _, s := range found {
			v.check(t, file, s[1], s[2])
		}
		for _, g := range grouping.FindAllStringSubmatch(text, -1) {
			for label := range strings.SplitSeq(g[1], ", ") {
				if !known[label] {
					t.Errorf("%s: there is no label %q to group by", file, label)
				}
			}
		}
	}
}

// check looks for a series, and for what its matchers ask for.
func (v vocabulary) check(t *testing.T, file, name, matchers string) {
	t.Helper()
	labels, ok := v[name]
	if !ok {
		t.Errorf("%s: the daemon does not export %s", file, name)
		return
	}
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		values, ok := labels[m[1]]
		if !ok {
			t.Errorf("%s: %s has no label %s", file, name, m[1])
		}
		if values == nil {
			continue
		}
		for value := range strings.SplitSeq(m[3], "|") {
			if !slices.Contains(values, value) {
				t.Errorf("%s: %s of %s is never %q, but %q", file, m[1], name, value, values)
			}
		}
	}
}

// TestAlertsAreDocumented compares the alerts with the headings of docs/operations.md, to
// which they lead.
func TestAlertsAreDocumented(t *testing.T) {
	rules, err := os.ReadFile(alerts)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern string, text []byte) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			all = append(all, string(m[1]))
		}
		return all
	}
	want := names(`(?m)^ +- alert: (\w+)$`, rules)
	if got := names(`(?m)^### (Ladle\w+)$`, doc); !slices.Equal(got, want) {
		t.Errorf("the document is about %q, and the rules are %q", got, want)
	}
	for n, anchor := range names(`operations\.md#(\w+)`, rules) {
		if n >= len(want) || anchor != strings.ToLower(want[n]) {
			t.Errorf("alert %d leads to %s", n, anchor)
		}
	}
}
