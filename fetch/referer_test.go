package fetch

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// TestStorageThatWantsReferer: a storage that answers nobody without the
// registry's address in the Referer header is read from, at first and when the
// request goes to it directly. The registry itself gets no such header.
func TestStorageThatWantsReferer(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Token: true, Redirect: true, Referer: true})
	b := blobOf(client(t), r, data)
	wantTail(t, b, data, 1000)
	for i := range int64(3) {
		wantRange(t, b, data, i*1000, 1000)
	}
	if n := r.Count(registrytest.Storage); n != 4 {
		t.Errorf("the storage was asked %d times, want 4", n)
	}
	for _, q := range r.Log() {
		if got := q.Header.Get("Referer"); q.Kind != registrytest.Storage && got != "" {
			t.Errorf("%s %s has the Referer %q", q.Kind, q.Path, got)
		}
	}
}

// referers is a server that redirects each request to next, if that is not
// empty, and notes their Referer headers.
type referers struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		seen []string
	}
}

func newReferers(t *testing.T, next string) *referers {
	s := &referers{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.mu.seen = append(s.mu.seen, r.Header.Get("Referer"))
		s.mu.Unlock()
		if next != "" {
			http.Redirect(w, r, next, http.StatusTemporaryRedirect)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	}))
	t.Cleanup(s.Close)
	return s
}

// TestRefererHasNoSignature: each server of a chain of redirections receives the address
// at the registry, and no other one, since the query of a later address may be a
// signature. The same holds for requests to the cached end of the chain.
func TestRefererHasNoSignature(t *testing.T) {
	last := newReferers(t, "")
	middle := newReferers(t, last.URL+"/last?signature=t")
	first := newReferers(t, middle.URL+"/middle?signature=s")
	host := first.Listener.Addr().String()
	b := New(Hosts(t.Context(), HostsOptions{}), quick).Blob(Source{host + "/a:1", digestOf(nil)})
	for range 2 {
		if got, err := read(within(t), b, 2, 3); err != nil || string(got) != "234" {
			t.Fatalf("got %q %v", got, err)
		}
	}
	origin := first.URL + "/v2/a/blobs/" + string(digestOf(nil))
	for name, c := range map[string]struct {
		s    *referers
		want []string
	}{
		"registry": {first, []string{""}}, "middle": {middle, []string{origin}}, "last": {last, []string{origin, origin}},
	} {
		c.s.mu.Lock()
		if !slices.Equal(c.s.mu.seen, c.want) {
			t.Errorf("%s: referers %q, want %q", name, c.s.mu.seen, c.want)
		}
		c.s.mu.Unlock()
	}
}

// TestNoRefererFromHTTPSToHTTP: plain HTTP is not told what was asked by HTTPS.
func TestNoRefererFromHTTPSToHTTP(t *testing.T) {
	for _, c := range []struct {
		origin, last, next string
		want               bool
	}{
		{"http://r/v2", "http://r/v2", "http://a/", true},
		{"http://r/v2", "http://r/v2", "https://a/", true},
		{"https://r/v2", "https://r/v2", "https://a/", true},
		{"https://r/v2", "https://r/v2", "http://a/", false},
		{"https://r/v2", "http://a/", "http://b/", false},
		{"http://r/v2", "https://a/", "http://b/", false},
	} {
		var at [3]*url.URL
		for i, s := range []string{c.origin, c.last, c.next} {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			at[i] = u
		}
		want := ""
		if c.want {
			want = c.origin
		}
		if got := referer(at[0], at[1], at[2]); got != want {
			t.Errorf("%v: %q, want %q", c, got, want)
		}
	}
}
