package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/memtest"
)

// If the registry has a token server, a lender is asked for a token, with the whole challenge.
// Offers does not store tokens: the caller does.
func TestTokenIsLent(t *testing.T) {
	asked := 0
	o := NewOffers()
	o.Offer(repository, lend(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		q := r.URL.Query()
		if r.URL.Path != "/token" || q.Get("host") != bearer.Host || q.Get("repository") != bearer.Repository ||
			q.Get("realm") != bearer.Realm || q.Get("service") != bearer.Service || !slices.Equal(q["scope"], bearer.Scopes) {
			t.Errorf("%s", r.URL)
		}
		fmt.Fprintf(w, `{"token": "t%d", "expires_in": 60}`, asked)
	}))
	for n := range 2 {
		l, err := o.Credentials(t.Context(), bearer)
		if err != nil || l != (Login{Token: fmt.Sprint("t", n+1), Life: time.Minute}) {
			t.Errorf("%v, %v", l, err)
		}
	}
	if _, l := o.known(bearer.Host, bearer.Repository); l != (loan{}) {
		t.Errorf("%v is kept", l)
	}
}

// The answers that a lender may give to a request for a token, and the resulting logins.
func TestAnswersForToken(t *testing.T) {
	const long = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		token http.HandlerFunc // else /credentials, which lends "basic" and "p"
		want  Login
	}{
		"token": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token": "t"}`) }, Login{Token: "t"}},
		"for ever": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"token": "t", "expires_in": 9223372036854775807}`)
		}, Login{Token: "t", Life: long}},
		"in the past":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token": "t", "expires_in": -5}`) }, Login{Token: "t"}},
		"password":        {giving("u", "s"), Login{User: "u", Secret: "s"}},
		"nothing":         {giving("", ""), Login{User: "own", Secret: "host"}},
		"nobody":          {nobody, Login{User: "own", Secret: "host"}},
		"an older lender": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, Login{User: "basic", Secret: "p"}},
		"cannot":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, Login{User: "own", Secret: "host"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOffers()
			o.Offer(repository, lend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					c.token(w, r)
					return
				}
				if q := r.URL.Query(); len(q) != 2 {
					t.Errorf("%s", r.URL)
				}
				giving("basic", "p")(w, r)
			}))
			l, err := NewSources(nil, o, own{}).Credentials(t.Context(), bearer)
			if err != nil || l.User != c.want.User || l.Secret != c.want.Secret || l.Token != c.want.Token || l.Life != c.want.Life {
				t.Errorf("%+v, %v, want %+v", l, err, c.want)
			}
		})
	}
}

// A lender that was told of a registry says where its images are; what it said
// stays when it goes.
func TestHostsAreLent(t *testing.T) {
	const registry = "registry.example:5000"
	answer := `{"hosts": null}`
	asked, status := 0, http.StatusOK
	socket := lend(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if q := r.URL.Query(); r.URL.Path != "/hosts" || len(q) != 1 || q.Get("registry") != registry {
			t.Errorf("%s", r.URL)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	})
	o := NewOffers()
	now := time.Now()
	o.now = func() time.Time { return now }
	wants := func(n, urls int) {
		t.Helper()
		hosts, err := o.Hosts(t.Context(), registry, repository)
		if err != nil || len(hosts) != urls || asked != n {
			t.Errorf("asked %d times, %v, %v; want %d and %d hosts", asked, hosts, err, n, urls)
		}
	}
	wants(0, 0)
	o.Offer(repository+":1", socket)
	wants(1, 0)
	answer = `{"hosts": [{"url": "https://mirror.example/v2/a", "ca": ["/ca"], "keypair": [{"cert": "/c", "key": "/k"}], "insecure": true, "http_fallback": true, "new": 1}, {"url": "http://b/"}]}`
	wants(1, 0)
	o.Offer(repository+":2", socket)
	wants(2, 2)
	got, _ := o.Hosts(t.Context(), registry, repository)
	if h := got[0]; h.URL != "https://mirror.example/v2/a" || h.CAs[0] != "/ca" || h.KeyPairs[0] != (KeyPair{"/c", "/k"}) || !h.Insecure || !h.Fallback {
		t.Errorf("%v", h)
	}
	for _, status = range []int{http.StatusBadGateway, http.StatusNotFound} {
		now = now.Add(hostsTTL)
		wants(asked+1, 2)
	}
	status = http.StatusOK // it is back, and asked at once
	wants(asked+1, 2)
	wants(asked, 2)
	status, answer = http.StatusBadRequest, "" // an older lender, which knows nothing
	o = NewOffers()
	o.Offer(repository+":1", socket)
	wants(asked+1, 0)
	wants(asked, 0)
}

// An address that is none, a file that could be anywhere: an error in which
// there is nothing of it.
func TestWrongHosts(t *testing.T) {
	one := func(text string) string { return `{"hosts": [{"url": "https://a/v2"}, {` + text + `}]}` }
	for _, answer := range []string{
		one(``), one(`"url": ""`), one(`"url": "hunter2"`), one(`"url": "ftp://hunter2/v2"`), one(`"url": "https:///hunter2"`),
		one(`"url": "https://:5000/hunter2"`), one(`"url": "https://user:hunter2@a/v2"`), one(`"url": "https://a/v2?hunter2"`),
		one(`"url": "https://a/v2#hunter2"`), one(`"url": "https:hunter2"`), one(`"url": "https://a"`), one(`"url": "https://a/%hunter2"`),
		one(`"url": "https://a/v2", "ca": ["hunter2"]`), one(`"url": "https://a/v2", "keypair": [{"cert": "/hunter2"}]`),
		one(`"url": "https://a/v2", "ca": [` + strings.Repeat(`"/a", `, maxFiles) + `"/hunter2"]`),
		`{"hosts": [` + strings.Repeat(`{"url": "https://a/v2"}, `, maxHosts) + `{"url": "https://a/v2"}]}`,
		`{"hosts": {}}`, `hunter2`, "",
	} {
		socket := lend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
		if hosts, err := askForHosts(t.Context(), socket, "hunter2"); err == nil || hosts != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", answer, hosts, err)
		}
	}
	if _, err := askForHosts(t.Context(), lend(t, nobody), "a"); !errors.Is(err, errNobody) {
		t.Error(err)
	}
}

func FuzzHost(f *testing.F) {
	f.Add("https://mirror.example:5000/v2/path", "/ca.pem")
	f.Add("http://[::1]:5000/v2", "")
	f.Add("https://u:p@a/v2", "ca.pem")
	f.Fuzz(func(t *testing.T, address, file string) {
		h := Host{URL: address, CAs: []string{file}}
		var err error
		memtest.BoundSmall(t, len(address)+len(file), 32, func() { err = h.check() })
		if err == nil && (!strings.HasPrefix(file, "/") || !strings.Contains(address, "://") || strings.ContainsAny(address, "#")) {
			t.Errorf("%q %q", address, file)
		}
	})
}
