package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/lru"
)

const (
	// sourceTimeout bounds the answer of one source: less than the time in which fetch wants
	// a token, so that a source that hangs leaves time to the next one.
	sourceTimeout = 15 * time.Second

	// maxPlaces bounds for how many hosts and repositories answers are kept.
	maxPlaces = 4096
)

// Sources ask sources in their order; the first that has credentials answers. It may be used
// concurrently.
//
// Credentials that a host has refused come after those of all other sources, since an earlier
// source can have old ones while a later one has good ones.
type Sources struct {
	list   []Source
	counts Counts // nil: nothing is counted
	now    func() time.Time
	wait   time.Duration // for each source

	mu struct {
		sync.Mutex
		places *lru.Cache[place, *asked]
	}
}

// place is what credentials are for.
type place struct{ host, repository string }

func (c Challenge) place() place { return place{c.Host, c.Repository} }

// asked is what is known of a place. It is guarded by the mutex of Sources.
type asked struct {
	answers  []Answer // the latest of each source
	refusals refusals
	deaf     map[string]time.Time // sources that hung, by name: not asked again before
}

// NewSources returns Sources that ask list in its order, and count the answers.
func NewSources(counts Counts, list ...Source) *Sources {
	s := &Sources{list: list, counts: counts, now: time.Now, wait: sourceTimeout}
	s.mu.places = lru.New[place, *asked](maxPlaces)
	return s
}

// Credentials returns the answer to c: the first login that the host has not refused lately,
// else the first one that it has refused, else none. It fails only if ctx ends: the failures
// of sources are in the error that Refused returns.
func (s *Sources) Credentials(ctx context.Context, c Challenge) (Login, error) {
	var answers []Answer
	var found, again Login // again is the first that was refused
	for _, source := range s.list {
		if found != (Login{}) {
			answers = append(answers, Answer{Source: source.Name(), Result: NotAsked})
			continue
		}
		if s.isDeaf(source, c) {
			answers = append(answers, Answer{Source: source.Name(), Result: Failed, Err: s.noAnswer()})
			continue
		}
		logins, a := s.ask(ctx, source, c)
		if ctx.Err() != nil {
			return Login{}, fmt.Errorf("credentials for %s: %w", c.Host, context.Cause(ctx))
		}
		if len(logins) > 0 {
			if found = s.accepted(c, logins); found == (Login{}) {
				a.Result = Refused
				if again == (Login{}) {
					again = logins[0]
				}
			}
		}
		s.count(a)
		answers = append(answers, a)
	}
	s.store(ctx, c, answers)
	if found == (Login{}) {
		return again, nil
	}
	return found, nil
}

// isDeaf reports whether a source hung lately when it was asked for the place of c. Asking it
// each time would delay each request of a registry with basic authentication.
func (s *Sources) isDeaf(source Source, c Challenge) (deaf bool) {
	s.withPlace(c, func(k *asked) { deaf = s.now().Before(k.deaf[source.Name()]) })
	return deaf
}

func (s *Sources) noAnswer() error { return fmt.Errorf("no answer within %v", s.wait) }

// store stores the answers, and logs failures unless the same ones were logged before.
func (s *Sources) store(ctx context.Context, c Challenge, answers []Answer) {
	text, before := describe(failures(answers)), ""
	s.withPlace(c, func(k *asked) {
		before = describe(failures(k.answers))
		k.answers = answers
	})
	if text != before && len(failures(answers)) > 0 {
		log.G(ctx).WithField("repository", c.Repository).WithField("host", c.Host).WithField("answers", text).
			Warn("sources of credentials failed")
	}
}

func failures(answers []Answer) []Answer {
	return slices.DeleteFunc(slices.Clone(answers), func(a Answer) bool { return a.Result != Failed })
}

// ask asks one source. The answer is Found if there are logins.
func (s *Sources) ask(ctx context.Context, source Source, c Challenge) ([]Login, Answer) {
	within, cancel := context.WithTimeoutCause(ctx, s.wait, s.noAnswer())
	defer cancel()
	logins, err := loginsOf(within, source, c)
	if within.Err() != nil && ctx.Err() == nil {
		s.withPlace(c, func(k *asked) {
			if k.deaf == nil {
				k.deaf = map[string]time.Time{}
			}
			k.deaf[source.Name()] = s.now().Add(deafFor)
		})
	}
	for i := range logins {
		logins[i].source = source.Name()
	}
	a := Answer{Source: source.Name(), Result: None, Err: err}
	switch {
	case len(logins) > 0:
		a.Result = Found
		if life := logins[0].Life; life > 0 {
			a.Until = s.now().Add(life)
		}
	case err == errNobody: //nolint:errorlint // beside other errors it is one of them
	case err != nil:
		a.Result = Failed
	}
	return logins, a
}

func loginsOf(ctx context.Context, source Source, c Challenge) ([]Login, error) {
	if several, ok := source.(Several); ok {
		logins, err := several.Logins(ctx, c)
		return slices.Clone(logins), err
	}
	l, err := source.Credentials(ctx, c)
	if l == (Login{}) {
		return nil, err
	}
	return []Login{l}, err
}

// accepted returns the first of logins that was not refused lately, or none.
func (s *Sources) accepted(c Challenge, logins []Login) (found Login) {
	s.withPlace(c, func(k *asked) {
		for _, l := range logins {
			if !k.refusals.has(l, s.now()) {
				found = l
				return
			}
		}
	})
	return found
}

// Refused records that the host of c refused l, which Credentials returned, or what was not
// authorized if l is none. It returns an error that says what each source answered.
func (s *Sources) Refused(c Challenge, l Login) error {
	var answers []Answer
	s.withPlace(c, func(k *asked) {
		if l.source != "" {
			k.refusals.add(l, s.now())
		}
		for i, a := range k.answers {
			if l.source != "" && a.Source == l.source {
				k.answers[i].Result = Refused
			}
		}
		answers = append(answers, k.answers...)
	})
	for _, source := range s.list {
		if source.Name() != l.source {
			continue
		}
		s.count(Answer{Source: l.source, Result: Refused})
		if r, ok := source.(Renewer); ok {
			r.Refused(c, l)
		}
	}
	return errors.New("credentials: " + describe(answers))
}

// Ask asks all sources for credentials for a host and repository, and returns their answers.
// Nothing is counted.
func (s *Sources) Ask(ctx context.Context, c Challenge) []Answer {
	var answers []Answer
	for _, source := range s.list {
		logins, a := s.ask(ctx, source, c)
		if len(logins) > 0 && s.accepted(c, logins) == (Login{}) {
			a.Result = Refused
		}
		answers = append(answers, a)
	}
	return answers
}

// describe returns answers in one line: "lent: none, docker: failed (…)".
func describe(answers []Answer) string {
	if len(answers) == 0 {
		return "there are no sources"
	}
	all := make([]string, len(answers))
	for i, a := range answers {
		all[i] = a.Source + ": " + string(a.Result)
		if a.Err != nil {
			all[i] += " (" + strings.ReplaceAll(a.Err.Error(), "\n", "; ") + ")"
		}
	}
	return strings.Join(all, ", ")
}

func (s *Sources) count(a Answer) {
	if s.counts != nil {
		s.counts.Answered(a.Source, string(a.Result))
	}
}

// withPlace calls use under the lock with what is known of the place of c.
func (s *Sources) withPlace(c Challenge, use func(*asked)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.mu.places.Get(c.place())
	if !ok {
		k = &asked{}
		s.mu.places.Add(c.place(), k)
	}
	use(k)
}
