package fetch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// planned returns a plan over hosts of these one-letter names.
func planned(names string, opts Options) *plan {
	p := &plan{opts: opts.withDefaults(), now: time.Now}
	for _, name := range strings.Split(names, "") {
		h := &host{}
		h.Host = name
		p.candidates = append(p.candidates, p.newCandidate(h, time.Time{}))
	}
	return p
}

// TestPlan runs plans over hosts "a", "b", ... with what each attempt comes to:
// f fails, u does not answer, l wants to be left alone for long, r refuses, x
// fails for good, and then again the last of these; first is which hosts are asked
// first, and all is how often each is until none is left, in any order.
func TestPlan(t *testing.T) {
	for _, c := range []struct{ name, hosts, outcomes, first, all string }{
		{"one that fails", "a", "f", "a", "aaa"},
		{"one that fails for good", "a", "x", "a", "a"},
		{"one that refuses", "a", "r", "a", "aa"},
		{"one that does not answer", "a", "u", "a", "aaa"},
		{"one that is to be left alone", "a", "l", "a", "a"},
		{"the next host first", "ab", "f", "ab", "aaabbb"},
		{"for good", "ab", "x", "ab", "ab"},
		{"refused by all", "ab", "r", "ab", "aabb"},
		{"the other is out", "ab", "fxf", "abaa", "aaab"},
		{"left alone for long", "ab", "lf", "abbb", "abbb"},
		{"three", "abc", "f", "abc", "aaabbbccc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := planned(c.hosts, quick)
				got := ""
				for i := 0; ; i++ {
					h, err := p.next(t.Context())
					if err != nil {
						break
					}
					got += h.Host
					e := &Error{Kind: ErrUnavailable}
					switch c.outcomes[min(i, len(c.outcomes)-1)] {
					case 'u':
						e.unanswered = true
					case 'l':
						e.retryAfter = time.Hour
					case 'r':
						e.Kind, e.final = ErrNoRanges, true
					case 'x':
						e.Kind, e.final = ErrNotFound, true
					}
					p.failure(e)
				}
				all := strings.Split(got, "")
				slices.Sort(all)
				if !strings.HasPrefix(got, c.first) || strings.Join(all, "") != c.all {
					t.Errorf("asked %s, want %s first, and %s in all", got, c.first, c.all)
				}
			})
		})
	}
}

// TestRetryAfterIsHonoured: a host that says when to come back is asked then and not
// before, and the next host meanwhile.
func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{}.withDefaults()
		busy := &Error{Kind: ErrUnavailable, retryAfter: 3 * time.Second}
		for _, hosts := range []string{"a", "ab"} {
			p := planned(hosts, o)
			start := time.Now()
			for range 2 {
				for range hosts {
					if _, err := p.next(t.Context()); err != nil {
						t.Fatal(err)
					}
					p.failure(busy)
				}
			}
			if took := time.Since(start); took != busy.retryAfter {
				t.Errorf("%d hosts: asked again after %v, want %v", len(hosts), took, busy.retryAfter)
			}
		}
		// A caller that has the time waits for longer than it would by itself.
		for _, left := range []time.Duration{5 * time.Second, 30 * time.Second} {
			p := planned("a", o)
			ctx, cancel := context.WithTimeout(t.Context(), left)
			if _, err := p.next(ctx); err != nil {
				t.Fatal(err)
			}
			p.failure(&Error{Kind: ErrUnavailable, retryAfter: 20 * time.Second})
			start := time.Now()
			_, err := p.next(ctx)
			cancel()
			if took := time.Since(start); left < 20*time.Second && (!errors.Is(err, ErrUnavailable) || took != 0) || left > 20*time.Second && (err != nil || took != 20*time.Second) {
				t.Errorf("with %v left: %v after %v", left, err, took)
			}
		}
	})
}

func TestPlanRefundsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planned("a", quick)
		fail := &Error{Kind: ErrUnavailable}
		for i := range 20 {
			if _, err := p.next(t.Context()); err != nil {
				t.Fatalf("failure %d: %v", i, err)
			}
			p.success()
			p.failure(fail)
		}
	})
}

func TestPlanEndsWithContext(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	p := planned("a", quick)
	if _, err := p.next(ctx); err != why {
		t.Errorf("error: %v", err)
	}
}

// TestManyReadersOfASickHost: a hundred readers that continue for a minute send a failing
// host little more than one reader would: at most one request in each backoff, and one
// each of readers that have not tried before. When the host works again, all of them are
// answered at once.
func TestManyReadersOfASickHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers = 100
		o := Options{}.withDefaults()
		h := &host{}
		well := time.Now().Add(time.Minute)
		var mu sync.Mutex
		asked, late := 0, time.Duration(0)
		reader := func() {
			for {
				p := &plan{opts: o, now: time.Now}
				p.candidates = []candidate{p.newCandidate(h, time.Time{})}
				for {
					if _, err := p.next(t.Context()); err != nil {
						break
					}
					mu.Lock()
					asked++
					mu.Unlock()
					time.Sleep(time.Millisecond)
					if !time.Now().Before(well) {
						p.success()
						mu.Lock()
						late = max(late, time.Since(well))
						mu.Unlock()
						return
					}
					p.failure(&Error{Kind: ErrUnavailable, Status: 503})
				}
			}
		}
		var all sync.WaitGroup
		for range readers {
			all.Go(reader)
		}
		all.Wait()
		asked -= readers // when it was well
		if most := readers + 8 + int(time.Minute/(o.MaxWait/2)); asked > most {
			t.Errorf("%d requests while it was sick, want at most %d", asked, most)
		}
		if asked < readers+int(time.Minute/o.MaxWait) {
			t.Errorf("only %d requests while it was sick", asked)
		}
		if late > o.MaxWait+time.Second {
			t.Errorf("the last reader was answered %v after it was well", late)
		}
	})
}

// TestOthersFailuresAreNotOnesOwn: an object that a host cannot give does not
// keep it from being asked for another one at once.
func TestOthersFailuresAreNotOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{}.withDefaults()
		h := &host{}
		for _, e := range []*Error{{Kind: ErrUnavailable, Status: 500}, {Kind: ErrNotFound, Status: 404, final: true}} {
			for range 20 {
				p := &plan{opts: o, now: time.Now}
				p.candidates = []candidate{p.newCandidate(h, time.Time{})}
				for {
					if _, err := p.next(t.Context()); err != nil {
						break
					}
					p.failure(e)
				}
			}
			start := time.Now()
			p := &plan{opts: o, now: time.Now}
			p.candidates = []candidate{p.newCandidate(h, time.Time{})}
			if _, err := p.next(t.Context()); err != nil || time.Since(start) > 0 {
				t.Errorf("%v: asked after %v: %v", e, time.Since(start), err)
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	o := Options{}.withDefaults()
	for n := range 100 {
		most := o.MaxWait
		if n < 8 {
			most = o.MinWait << n
		}
		if got := o.backoff(n); got < most/2 || got > most {
			t.Errorf("wait before retry %d: %v", n, got)
		}
	}
}
