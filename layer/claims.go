package layer

import (
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

// claims are what images say that the diffID of a layer is.
type claims struct {
	sync.Mutex
	all []func(digest.Digest) bool
}

// maxClaims bounds the claims of a layer, and maxClaimed the layers with claims that are
// remembered, the newest ones.
const (
	maxClaims  = 16
	maxClaimed = 4096
)

// addClaim remembers a claim about a layer, which may be nil.
func (c *caches) addClaim(id store.ID, claim func(digest.Digest) bool) {
	if claim == nil {
		return
	}
	made := &claims{}
	of, ok, _ := c.claims.PeekOrAdd(id, made)
	if !ok {
		of = made
	}
	of.Lock()
	defer of.Unlock()
	if len(of.all) == maxClaims {
		of.all = slices.Delete(of.all, 0, 1)
	}
	of.all = append(of.all, claim)
}

// expects reports whether an image says that the layer's diffID is d.
func (l *Layer) expects(d digest.Digest) bool {
	if l.data.DiffID() == d {
		return true
	}
	of, ok := l.set.caches.claims.Get(l.ID())
	if !ok {
		return false
	}
	of.Lock()
	defer of.Unlock()
	return slices.ContainsFunc(of.all, func(claim func(digest.Digest) bool) bool { return claim(d) })
}

// known is what is known of a layer's tar.
type known struct {
	sync.RWMutex
	proof store.Proof
	ended bool // nothing more will be known
}

func (k *known) set(p store.Proof) {
	k.Lock()
	defer k.Unlock()
	k.proof, k.ended = p, true
}

// isKnown reports whether nothing more will be known.
func (k *known) isKnown() bool {
	k.RLock()
	defer k.RUnlock()
	return k.ended
}
