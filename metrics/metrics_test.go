package metrics

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
)

// exercise calls every method of every collector, with values from the closed
// sets and from outside of them.
func exercise(m *Metrics) {
	for _, o := range append(slices.Clone(AllOpened), "sha256:0123") {
		m.Layers.Opened(o)
	}
	m.Prepares.Remote()
	for _, why := range append(slices.Clone(AllReasons), "registry.example") {
		m.Prepares.Local(why)
	}
	m.Chunks.Verified(4096)
	m.Chunks.Mismatched()
	for _, how := range append(slices.Clone(AllReads), "quick") {
		m.Reads.Done(how, 512, time.Millisecond)
	}
	m.Reads.Local(512)
	for _, source := range append(slices.Clone(CredentialSources), "registry.example") {
		for _, result := range append(slices.Clone(CredentialResults), "hunter2") {
			m.Credentials.Answered(source, result)
		}
	}
	for _, op := range append(slices.Clone(AllOps), "ioctl") {
		m.Requests.Add(op)
	}
	for _, d := range append(slices.Clone(AllDrivers), "nfs") {
		m.Mounts.Mounted(d, 1)
		m.Mounts.Failed(d)
	}
	for _, method := range append(slices.Clone(methods), "Drop") {
		m.Calls.Done(method, codes.OK, time.Second)
	}
	m.Calls.Done("Stat", codes.Code(4711), time.Second)
	req := httptest.NewRequest(http.MethodGet, "http://registry.example/v2/", nil)
	_, _ = m.HTTP.Transport(unreachable{}).RoundTrip(req)
}

// unreachable is a transport without a network.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func TestNilCollectorsDoNothing(t *testing.T) {
	m := new(Metrics)
	exercise(m)
	if got := m.HTTP.Transport(http.DefaultTransport); got != http.DefaultTransport {
		t.Errorf("Transport of a nil collector is %T", got)
	}
	if m.HTTP.Transport(nil) == nil {
		t.Error("Transport(nil) of a nil collector is nil")
	}
}

// TestNoCollectorIsForgotten fails for a field of Metrics that New leaves nil.
func TestNoCollectorIsForgotten(t *testing.T) {
	m := reflect.ValueOf(New(prometheus.NewRegistry())).Elem()
	for i := range m.NumField() {
		if m.Field(i).IsNil() {
			t.Errorf("Metrics.%s is nil", m.Type().Field(i).Name)
		}
	}
}

func TestNamesFollowPrometheus(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	exercise(New(r))
	WatchStore(r, func() Disk { return Disk{Stored: 42} })
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestLabelsAreClosed does everything twice, the second time with still other
// values from outside: there must be no series more.
func TestLabelsAreClosed(t *testing.T) {
	r := prometheus.NewRegistry()
	m := New(r)
	exercise(m)
	before := series(t, r)
	m.Layers.Opened("sha256:4567")
	m.Prepares.Local("registry-2.example")
	m.Requests.Add("poll")
	m.Reads.Done("slow", 1, 0)
	m.Mounts.Mounted("ext4", 1)
	m.Credentials.Answered("registry-2.example", "hunter3")
	m.Calls.Done("Drop2", codes.OK, 0)
	m.Calls.Done("Stat", codes.Code(4712), 0)
	if after := series(t, r); after != before {
		t.Errorf("%d series, then %d", before, after)
	}
}

func series(t *testing.T, g prometheus.Gatherer) (n int) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

func TestTransportCountsWhatAServerSends(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			http.Error(w, "gone", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
	}))
	r := prometheus.NewRegistry()
	m := New(r)
	client := &http.Client{Transport: m.HTTP.Transport(&http.Transport{})}
	get(t, client, server.URL+"/blob")
	get(t, client, server.URL+"/gone")
	server.Close()
	client.CloseIdleConnections()
	if _, err := client.Get(server.URL); err == nil {
		t.Fatal("a closed server answers")
	}

	for status, want := range map[string]uint64{"2xx": 1, "4xx": 1, "error": 1} {
		if got := requests(t, r, status); got != want {
			t.Errorf("%d requests with status %s, want %d", got, status, want)
		}
	}
	if got, want := testutil.ToFloat64(m.HTTP.received), float64(10_000+len("gone\n")); got != want {
		t.Errorf("%v bytes received, want %v", got, want)
	}
}

func get(t *testing.T, client *http.Client, url string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}

func requests(t *testing.T, g prometheus.Gatherer, status string) uint64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "ladle_http_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == status {
				return m.GetHistogram().GetSampleCount()
			}
		}
	}
	return 0
}

func TestReadsCountBytesAndTime(t *testing.T) {
	m := New(prometheus.NewRegistry())
	m.Reads.Local(100)
	m.Reads.Local(50)
	m.Reads.Done(ReadWaited, 7, time.Second)
	if got := testutil.ToFloat64(m.Reads.local); got != 150 {
		t.Errorf("%v bytes local, want 150", got)
	}
	if got := testutil.ToFloat64(m.Reads.bytes[ReadWaited]); got != 7 {
		t.Errorf("%v bytes waited, want 7", got)
	}
}

// TestStoreIsWatched reads the gauges twice: they must follow the store.
func TestStoreIsWatched(t *testing.T) {
	r := prometheus.NewRegistry()
	size := int64(1)
	WatchStore(r, func() Disk { return Disk{Stored: size, Free: 2 * size, Reserve: 3 * size} })
	for _, size = range []int64{4096, 8192} {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		n := float64(size)
		if want := map[string]float64{"ladle_store_bytes": n, "ladle_disk_free_bytes": 2 * n, "ladle_disk_reserve_bytes": 3 * n}; !maps.Equal(got, want) {
			t.Errorf("gauges are %v, want %v", got, want)
		}
	}
}

// TestDocumentationHasEveryMetric compares docs/metrics.md with what is there.
func TestDocumentationHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	exercise(New(r))
	WatchStore(r, func() Disk { return Disk{} })
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.Contains(string(text), "`"+f.GetName()+"`") {
			t.Errorf("nothing about %s", f.GetName())
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() != "method" && l.GetName() != "code" && l.GetName() != "status" && !strings.Contains(string(text), l.GetValue()) {
					t.Errorf("%s: nothing about %s %s", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
}
