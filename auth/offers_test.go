package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const repository = "registry.example:5000/group/name"

// own is a source behind the lenders: its user is "own", and the secret the host.
type own struct{ err error }

func (own) Name() string { return "docker" }

func (o own) Credentials(_ context.Context, c Challenge) (Login, error) {
	if o.err != nil {
		return Login{}, o.err
	}
	return Login{User: "own", Secret: c.Host}, nil
}

// wants fails unless user and secret are the credentials of one repository.
func wants(t *testing.T, o *Offers, user, secret string) {
	t.Helper()
	l, err := NewSources(nil, o, own{}).Credentials(t.Context(), basic)
	if err != nil || !l.Same(Login{User: user, Secret: secret}) {
		t.Errorf("%q %q %v, want %q %q", l.User, l.Secret, err, user, secret)
	}
}

// The challenges of a host without and with a token server.
var (
	basic  = Challenge{Host: "host", Repository: repository}
	bearer = Challenge{"host", repository, "https://realm.example/token?a=b", "service", []string{"repository:group/name:pull", "other"}}
)

// giving is a lender's answer.
func giving(user, secret string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"username": %q, "secret": %q}`, user, secret)
	}
}

func nobody(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

func TestLenderIsAsked(t *testing.T) {
	var asked atomic.Int64
	socket := lend(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/credentials" || len(q) != 2 {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		giving(q.Get("host"), q.Get("repository"))(w, r)
	})
	o := NewOffers()
	wants(t, o, "own", "host")
	for _, ref := range []string{"", "not a reference", "other.example/name:1", repository + "2:1"} {
		o.Offer(ref, socket)
		wants(t, o, "own", "host")
	}
	if n := asked.Load(); n != 0 {
		t.Fatalf("it was asked %d times for what it did not offer", n)
	}
	o.Offer(repository+":tag@sha256:"+strings.Repeat("0", 64), socket)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wants(t, o, "host", repository) })
	}
	all.Wait()
	before := asked.Load()
	wants(t, o, "host", repository)
	if n := asked.Load(); n != before {
		t.Errorf("it was asked %d times, and before that %d", n, before)
	}
	o.now = func() time.Time { return time.Now().Add(answerTTL) }
	wants(t, o, "host", repository)
	o.Offer(repository+":1", socket)
	wants(t, o, "host", repository)
	if n := asked.Load(); n != before+2 {
		t.Errorf("it was asked %d times after a minute and a new offer, want 2", n-before)
	}
}

// What was lent is good for as long as ladle is there, unless somebody has
// something else.
func TestLoansStay(t *testing.T) {
	answer := giving("u", "1")
	socket := lend(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	o := NewOffers()
	now := time.Now()
	o.now = func() time.Time { return now }
	o.Offer(repository, socket)
	for _, step := range []struct {
		name   string
		answer http.HandlerFunc
		secret string
	}{
		{"lends", giving("u", "1"), "1"},
		{"knows nobody", nobody, "1"},
		{"has nothing", giving("", ""), "1"},
		{"fails", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "1"},
		{"lends another", giving("u", "2"), "2"},
		{"knows nobody again", nobody, "2"},
	} {
		t.Log(step.name)
		answer = step.answer
		now = now.Add(answerTTL)
		wants(t, o, "u", step.secret)
	}
	// A lender that has nothing to lend is asked each time.
	answer = giving("u", "3")
	wants(t, o, "u", "3")
}

// The lender that offered last is asked first, and then the others.
func TestLendersInTurn(t *testing.T) {
	o := NewOffers()
	identity := lend(t, giving("", "token"))
	o.Offer(repository, lend(t, giving("forgotten", "p")))
	for _, answer := range []http.HandlerFunc{giving("last", "p"), nobody, giving("", "")} {
		o.Offer(repository, lend(t, answer))
	}
	wants(t, o, "last", "p")
	o.Offer(repository, identity)
	wants(t, o, "", "token")
	for n := range 2 * maxLenders {
		o.Offer(repository, fmt.Sprintf("/none/%d/%s", n, socketName))
	}
	wants(t, o, "", "token")
	o.mu.Lock()
	defer o.mu.Unlock()
	if r, _ := o.mu.repositories.Get(repository); len(r.sockets) != maxLenders {
		t.Errorf("%d lenders are kept", len(r.sockets))
	}
}

// A call waits for a lender until its own context ends. Later calls do not wait for a lender
// that did not answer.
func TestLenderThatDoesNotAnswer(t *testing.T) {
	asked, end := make(chan bool, 10), make(chan struct{})
	defer close(end)
	o := NewOffers()
	o.Offer(repository, lend(t, func(http.ResponseWriter, *http.Request) {
		asked <- true
		<-end
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	bored := errors.New("bored")
	go func() { <-asked; cancel(bored) }()
	if _, err := o.Credentials(ctx, basic); !errors.Is(err, bored) {
		t.Errorf("error: %v", err)
	}
	o = NewOffers()
	o.wait = time.Millisecond
	o.Offer(repository, lend(t, func(http.ResponseWriter, *http.Request) { <-end }))
	for range 3 {
		wants(t, o, "own", "host")
	}
	if _, l := o.known("host", repository); !time.Now().Before(l.until) {
		t.Error("it is asked again at once")
	}
}

// Lenders name images of a blob, which they lend for.
func TestImages(t *testing.T) {
	named := `{"images": ["registry.example/other:1", "registry.example/third@sha256:` + strings.Repeat("0", 64) + `"]}`
	var answer string
	socket := lend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/images":
			if q := r.URL.Query(); len(q) != 1 || q.Get("blob") != "sha256:blob" {
				t.Errorf("query %v", q)
			}
			fmt.Fprint(w, answer)
		case "/credentials":
			giving("u", r.URL.Query().Get("repository"))(w, r)
		}
	})
	o := NewOffers()
	o.Offer(repository, socket)
	o.Offer(repository, "/none/"+socketName)
	for _, answer = range []string{"", "null", "{}", `{"images": null}`, `{"images": 1}`, `{"images": ["` + strings.Repeat("a", maxAnswer) + `"]}`} {
		if got := o.Images(t.Context(), []string{repository + ":1"}, "sha256:blob"); len(got) != 0 {
			t.Errorf("%.100s: %v", answer, got)
		}
	}
	answer = named
	if got := o.Images(t.Context(), []string{"registry.example/unknown:1", ""}, "sha256:blob"); len(got) != 0 {
		t.Errorf("images %v of one that nobody offered for", got)
	}
	got := o.Images(t.Context(), []string{repository + ":1", repository + ":2"}, "sha256:blob")
	if len(got) != 2 || got[0] != "registry.example/other:1" {
		t.Errorf("images %v", got)
	}
	for _, name := range []string{"other", "third"} {
		name = "registry.example/" + name
		if l, err := o.Credentials(t.Context(), Challenge{Host: "host", Repository: name}); l != (Login{User: "u", Secret: name}) || err != nil {
			t.Errorf("%s: %v %v", name, l, err)
		}
	}
	answer = `{"images": ["` + repository + `:1"]}`
	if _, l := o.known("host", repository); !l.until.IsZero() {
		t.Error("it was asked already")
	}
	wants(t, o, "u", repository)
	o.Images(t.Context(), []string{repository}, "sha256:blob")
	if _, l := o.known("host", repository); !l.until.IsZero() || l.Secret != repository {
		t.Errorf("what is known is %v", l)
	}
	answer = `{"images": [` + strings.Repeat(`"registry.example/many:1", `, 100) + `"registry.example/many:1"]}`
	if got := o.Images(t.Context(), []string{repository}, "sha256:blob"); len(got) != maxImages {
		t.Errorf("%d images", len(got))
	}
}

// An offer that is made while other lenders are asked counts at once: the new lender is asked
// without waiting for their answers, and its answer is used.
func TestOfferWhileOthersAreAsked(t *testing.T) {
	asked, answer := make(chan struct{}, 2), make(chan struct{})
	slow := lend(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		if r.URL.Path == "/hosts" {
			fmt.Fprint(w, `{"hosts": [{"url": "https://old.example/v2"}]}`)
			return
		}
		giving("old", "s")(w, r)
	})
	quick := lend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hosts" {
			fmt.Fprint(w, `{"hosts": [{"url": "https://new.example/v2"}]}`)
			return
		}
		giving("new", "s")(w, r)
	})
	o := NewOffers()
	o.Offer(repository, slow)
	hosts := func(want string) {
		t.Helper()
		got, err := o.Hosts(t.Context(), "registry.example:5000", repository)
		if err != nil || len(got) != 1 || got[0].URL != want {
			t.Errorf("%v, %v, want %s", got, err, want)
		}
	}
	var all sync.WaitGroup
	all.Go(func() { wants(t, o, "old", "s") })
	all.Go(func() { hosts("https://old.example/v2") })
	<-asked
	<-asked
	o.Offer(repository, quick)
	wants(t, o, "new", "s")
	hosts("https://new.example/v2")
	close(answer)
	all.Wait()
	wants(t, o, "new", "s")
	hosts("https://new.example/v2")
}
