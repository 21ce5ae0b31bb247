package fetch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPlan runs plans over hosts "a", "b", ... with what each attempt comes to:
// f fails, u does not answer, l wants to be left alone for long, x fails for
// good; want is which hosts are asked.
func TestPlan(t *testing.T) {
	for _, c := range []struct{ name, hosts, outcomes, want string }{
		{"one that fails", "a", "fff", "aaa"},
		{"one that fails for good", "a", "x", "a"},
		{"one that does not answer", "a", "uuu", "aaa"},
		{"failures in turn", "ab", "ffffff", "aaabbb"},
		{"for good in turn", "ab", "xx", "ab"},
		{"no answer gives the turn to the next", "ab", "uf", "ab"},
		{"and gets it back", "ab", "uxuu", "abaa"},
		{"and the next one is down, too", "ab", "uuuuuu", "abbbaa"},
		{"left alone for long", "ab", "lx", "ab"},
		{"three", "abc", "ufffx", "abbbc"},
		{"three that do not answer", "abc", "uuuuuuuuu", "abcccaabb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &plan{opts: quick, now: time.Now}
			for _, name := range strings.Split(c.hosts, "") {
				h := &host{}
				h.Host = name
				p.turns = append(p.turns, turn{host: h})
			}
			got := ""
			for i, outcome := range strings.Split(c.outcomes, "") {
				got += p.host().Host
				e := &Error{Kind: ErrUnavailable}
				switch outcome {
				case "u":
					e.unanswered = true
				case "l":
					e.retryAfter = time.Hour
				case "x":
					e.final = true
				}
				if err := p.failure(t.Context(), e); (err != nil) != (len(p.turns) == 0) {
					t.Fatalf("attempt %d: error %v with %d hosts left", i, err, len(p.turns))
				}
			}
			if got != c.want {
				t.Errorf("asked %s, want %s", got, c.want)
			}
		})
	}
}

func TestPlanRefundsRetries(t *testing.T) {
	p := &plan{opts: quick, now: time.Now, turns: []turn{{host: &host{}}}}
	fail := &Error{Kind: ErrUnavailable}
	for i := range 20 {
		p.progress(refund)
		if err := p.failure(t.Context(), fail); err != nil {
			t.Fatalf("failure %d: %v", i, err)
		}
	}
	n := 0
	for p.failure(t.Context(), fail) == nil {
		p.progress(refund - 1)
		if n++; n > quick.MaxRetries {
			t.Fatal("too little progress counts")
		}
	}
}

func TestPlanEndsWithContext(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	p := &plan{opts: quick, now: time.Now, turns: []turn{{host: &host{}}}}
	if err := p.failure(ctx, &Error{Kind: ErrUnavailable}); err != why {
		t.Errorf("error: %v", err)
	}
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
