package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"time"
)

const (
	// refusedFor is how long a refused login comes after others: it may be granted meanwhile
	// what it was refused for.
	refusedFor = 10 * time.Minute

	// maxRefusals bounds the refusals of one host and repository that are kept.
	maxRefusals = 32
)

// refusals are the logins that a host refused for a repository, and when. The zero value has
// none. Secrets are not kept, only keyed hashes of them.
type refusals map[refusal]time.Time

type refusal struct {
	source string
	login  [sha256.Size]byte // zero for tokens: the next one of the source is as good as this one
}

// hashKey makes hashes of one process useless elsewhere.
var hashKey = func() (key [sha256.Size]byte) {
	_, _ = rand.Read(key[:]) // never fails
	return key
}()

func refusalOf(l Login) refusal {
	if l.Token != "" {
		return refusal{source: l.source}
	}
	h := sha256.New()
	h.Write(hashKey[:])
	h.Write([]byte(l.User))
	h.Write([]byte{0})
	h.Write([]byte(l.Secret))
	return refusal{l.source, [sha256.Size]byte(h.Sum(nil))}
}

func (r refusals) has(l Login, now time.Time) bool {
	if len(r) == 0 {
		return false
	}
	at, ok := r[refusalOf(l)]
	return ok && now.Sub(at) < refusedFor
}

// add adds a refusal. The oldest one goes if there are too many.
func (r *refusals) add(l Login, now time.Time) {
	if *r == nil {
		*r = refusals{}
	}
	if len(*r) >= maxRefusals {
		r.dropOldest()
	}
	(*r)[refusalOf(l)] = now
}

func (r *refusals) dropOldest() {
	var oldest refusal
	var at time.Time
	for k, t := range *r {
		if at.IsZero() || t.Before(at) {
			oldest, at = k, t
		}
	}
	delete(*r, oldest)
}
