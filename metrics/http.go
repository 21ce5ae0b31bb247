package metrics

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestBuckets are seconds, from a registry on the same machine to one that
// is about to time out.
var requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// HTTP counts requests to registries and to where they redirect.
type HTTP struct {
	requests *prometheus.HistogramVec
	received prometheus.Counter
}

func newHTTP(r prometheus.Registerer) *HTTP {
	return &HTTP{
		requests: newHistograms(r, "http_request_duration_seconds",
			"Time until the header of an answer, by status class (1xx to 5xx, or error without an answer).",
			requestBuckets, "status"),
		received: newCounter(r, "http_received_bytes_total", "Bytes of bodies received from registries."),
	}
}

// Transport returns a RoundTripper that counts what goes through next; nil
// stands for http.DefaultTransport. Of a nil collector it is next.
func (h *HTTP) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	if h == nil {
		return next
	}
	return &countedTransport{next, h}
}

type countedTransport struct {
	next http.RoundTripper
	http *HTTP
}

func (t *countedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	t.http.requests.WithLabelValues(statusClass(resp, err)).Observe(time.Since(start).Seconds())
	if err != nil {
		return nil, err
	}
	resp.Body = &countedBody{resp.Body, t.http.received}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach next.
func (t *countedTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func statusClass(resp *http.Response, err error) string {
	if err != nil || resp.StatusCode < 100 || resp.StatusCode > 599 {
		return "error"
	}
	return strconv.Itoa(resp.StatusCode/100) + "xx"
}

type countedBody struct {
	io.ReadCloser
	received prometheus.Counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.received.Add(float64(n))
	return n, err
}
