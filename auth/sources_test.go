package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
)

// several is a source with a name and logins of its own.
type several struct {
	name    string
	logins  []Login
	err     error
	refused *[]Login
	asked   *int
}

func (s several) Name() string { return s.name }

func (s several) Credentials(context.Context, Challenge) (Login, error) {
	panic("Logins is asked")
}

func (s several) Logins(context.Context, Challenge) ([]Login, error) {
	if s.asked != nil {
		*s.asked++
	}
	return s.logins, s.err
}

func (s several) Refused(_ Challenge, l Login) {
	if s.refused != nil {
		*s.refused = append(*s.refused, l)
	}
}

// counted counts answers by "source result".
type counted struct {
	mu struct {
		sync.Mutex
		n map[string]int
	}
}

func (c *counted) Answered(source, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.n == nil {
		c.mu.n = map[string]int{}
	}
	c.mu.n[source+" "+result]++
}

func users(names ...string) (all []Login) {
	for _, n := range names {
		all = append(all, Login{User: n, Secret: "geheim-" + n})
	}
	return all
}

// The first source that has credentials answers. One that fails is no obstacle, and what was
// refused comes after all others, of every source, until some time has passed.
func TestSourcesInTurn(t *testing.T) {
	broken := errors.New("it is\nbroken")
	counts := &counted{}
	var told []Login
	last := 0
	s := NewSources(counts,
		several{name: "lent", err: broken},
		several{name: "cri"},
		several{name: "secrets", logins: users("a", "b"), refused: &told},
		several{name: "docker", logins: users("c"), asked: &last})
	now := time.Now()
	s.now = func() time.Time { return now }
	get := func(want string) Login {
		t.Helper()
		l, err := s.Credentials(t.Context(), basic)
		if err != nil || l.User != want {
			t.Fatalf("%q, %v, want %q", l.User, err, want)
		}
		return l
	}
	a := get("a")
	if last != 0 {
		t.Error("a source was asked though an earlier one answered")
	}
	text := s.Refused(basic, a).Error()
	if text != "credentials: lent: failed (it is; broken), cri: none, secrets: refused, docker: not asked" {
		t.Errorf("%s", text)
	}
	b := get("b")
	s.Refused(basic, b)
	c := get("c")
	s.Refused(basic, c)
	get("a") // all were refused: again from the beginning
	if l, err := s.Credentials(t.Context(), bearer); err != nil || l.User != "a" {
		t.Errorf("%v, %v", l, err) // the same place
	}
	other := basic
	other.Repository += "2"
	if l, err := s.Credentials(t.Context(), other); err != nil || l.User != "a" {
		t.Errorf("%v, %v, want what another repository refused", l, err)
	}
	if text := s.Refused(basic, get("a")).Error(); !strings.Contains(text, "secrets: refused, docker: refused") || strings.Contains(text, "geheim") {
		t.Errorf("%s", text)
	}
	now = now.Add(refusedFor)
	get("a")
	if len(told) != 3 || told[0].User != "a" || told[1].User != "b" {
		t.Errorf("refused: %v", told)
	}
	want := map[string]int{"secrets found": 4, "secrets refused": 7, "lent failed": 8, "cri none": 8, "docker found": 1, "docker refused": 4}
	if !maps.Equal(counts.mu.n, want) {
		t.Errorf("%v, want %v", counts.mu.n, want)
	}
}

// If no source has credentials, that is no error: many images can be read without. What each
// answered is said when the host refuses.
func TestNoSourceHasAny(t *testing.T) {
	s := NewSources(nil, NewOffers(), own{errors.New("helper is broken")})
	l, err := s.Credentials(t.Context(), basic)
	if err != nil || l != (Login{}) {
		t.Fatalf("%v, %v", l, err)
	}
	if text := s.Refused(basic, l).Error(); text != "credentials: lent: none, docker: failed (helper is broken)" {
		t.Error(text)
	}
	if text := NewSources(nil).Refused(basic, l).Error(); text != "credentials: there are no sources" {
		t.Error(text)
	}
}

// A source that hangs is given up, and the next one is asked; a caller that ends is not told
// that there are none.
func TestSourceHangs(t *testing.T) {
	hung := 0
	s := NewSources(nil, hanging{&hung}, own{})
	now := time.Now()
	s.now = func() time.Time { return now }
	s.wait = time.Millisecond
	for n := range 6 {
		if l, err := s.Credentials(t.Context(), basic); err != nil || l.User != "own" {
			t.Errorf("%v, %v", l, err)
		}
		if want := n/3 + 1; hung != want {
			t.Errorf("it was asked %d times, want %d: not again at once", hung, want)
		}
		if n == 2 {
			now = now.Add(deafFor)
		}
	}
	if text := s.Refused(basic, Login{}).Error(); text != "credentials: kubelet: failed (no answer within 1ms), docker: found" {
		t.Error(text)
	}
	now = now.Add(deafFor)
	if a := s.Ask(t.Context(), basic); len(a) != 2 || a[0].Result != Failed || a[1].Result != Found || !strings.Contains(a[0].Err.Error(), "no answer within") {
		t.Errorf("%v", a)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	bored := errors.New("bored")
	cancel(bored)
	if l, err := s.Credentials(ctx, basic); !errors.Is(err, bored) || l != (Login{}) {
		t.Errorf("%v, %v", l, err)
	}
}

type hanging struct{ asked *int }

func (hanging) Name() string { return "kubelet" }

func (h hanging) Credentials(ctx context.Context, _ Challenge) (Login, error) {
	*h.asked++
	<-ctx.Done()
	return Login{}, context.Cause(ctx)
}

// What is known of many repositories, and of many refusals of one, is bounded.
func TestSourcesAreBounded(t *testing.T) {
	s := NewSources(nil, own{})
	for n := range maxPlaces + 10 {
		s.withPlace(Challenge{Host: fmt.Sprint(n)}, func(*asked) {})
	}
	if n := s.mu.places.Len(); n != maxPlaces {
		t.Errorf("%d places", n)
	}
	for n := range 2 * maxRefusals {
		s.Refused(basic, Login{User: fmt.Sprint(n), source: "docker"})
	}
	s.withPlace(basic, func(k *asked) {
		if len(k.refusals) != maxRefusals {
			t.Errorf("%d refusals", len(k.refusals))
		}
	})
}

// Neither secrets nor users are shown where a login gets into a message.
func TestLoginsAreNotPrinted(t *testing.T) {
	for _, l := range []Login{{User: "hunter2", Secret: "hunter2"}, {Secret: "hunter2"}, {Token: "hunter2"}, {}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(verb, l) + fmt.Sprintf(verb, &l) + fmt.Sprintf(verb, []Login{l}); strings.Contains(text, "hunter2") {
				t.Errorf("%s: %s", verb, text)
			}
		}
	}
}

// The name of an image by which credentials are looked up is that of the host that asks.
func TestImageOfChallenge(t *testing.T) {
	for _, c := range []struct{ host, repository, want string }{
		{"registry.example:5000", "registry.example:5000/a/b", "registry.example:5000/a/b"},
		{"mirror.example", "registry.example:5000/a/b", "mirror.example/a/b"},
		{"registry-1.docker.io", "docker.io/library/a", "docker.io/library/a"},
		{"registry-1.docker.io", "registry.example/a", "docker.io/a"},
		{"mirror.example", "docker.io/library/a", "mirror.example/library/a"},
	} {
		if got := (Challenge{Host: c.host, Repository: c.repository}).image(); got != c.want {
			t.Errorf("%s at %s is %s, want %s", c.repository, c.host, got, c.want)
		}
	}
}
