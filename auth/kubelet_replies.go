package auth

import (
	"strings"
	"time"

	"github.com/ladle-dev/ladle/lru"
)

// replies are the cached answers of providers. They are guarded by the mutex of Kubelet.
type replies struct{ cache *lru.Cache[replyKey, *reply] }

const (
	// maxReplies bounds the answers that are kept.
	maxReplies = 1024

	// retryAfter is how long a provider that failed is not run again for an image.
	retryAfter = 10 * time.Second

	// keyFailed is the kind of the answer of a provider that failed.
	keyFailed = "failed"
)

// replyKey is what an answer is good for. With the provider as a pointer the answers of an
// earlier configuration are not found.
type replyKey struct {
	*provider
	kind string // keyImage, keyRegistry, keyGlobal or keyFailed
	of   string // image or registry; "" for all
}

// reply is an answer of a provider, or why there is none.
type reply struct {
	key          replyKey
	keys         keyring
	err          error
	began, until time.Time
	renewAt      time.Time // guarded by the mutex of Kubelet
}

func newReplies() replies { return replies{lru.New[replyKey, *reply](maxReplies)} }

// get returns the answer of p for an image that is good now, or nil.
func (r replies) get(p *provider, image string, now time.Time) *reply {
	for _, key := range []replyKey{{p, keyImage, image}, {p, keyRegistry, registryOf(image)}, {p, keyGlobal, ""}, {p, keyFailed, image}} {
		if known, ok := r.cache.Get(key); ok && now.Before(known.until) {
			return known
		}
	}
	return nil
}

// add stores an answer. One that kubelet would not keep is kept for answerTTL: reads come in
// bursts, while kubelet asks once for a pull.
func (r replies) add(p *provider, image string, response providerResponse, began time.Time) *reply {
	life := *p.DefaultCacheDuration.Duration
	if d := response.CacheDuration.Duration; d != nil {
		life = *d
	}
	if life <= 0 {
		life = answerTTL
	}
	logins := map[string]Login{}
	for location, a := range response.Auth {
		if a.Username != "" || a.Password != "" {
			logins[location] = Login{User: a.Username, Secret: a.Password}
		}
	}
	key := replyKey{p, response.CacheKeyType, ""}
	switch key.kind {
	case keyImage:
		key.of = image
	case keyRegistry:
		key.of = registryOf(image)
	}
	known := &reply{key: key, keys: newKeyring(logins), began: began, until: began.Add(life), renewAt: began.Add(life / 5 * 4)}
	r.cache.Add(key, known)
	return known
}

func (r replies) failed(p *provider, image string, err error, now time.Time) {
	key := replyKey{p, keyFailed, image}
	r.cache.Add(key, &reply{key: key, err: err, began: now, until: now.Add(retryAfter), renewAt: now.Add(retryAfter)})
}

func (r replies) drop(known *reply) { r.cache.Remove(known.key) }

// dueLocked reports whether the answer is to be renewed now. After true it is false for
// retryAfter, or a tenth of the answer's life.
func (r *reply) dueLocked(now time.Time) bool {
	if r.err != nil || now.Before(r.renewAt) {
		return false
	}
	r.renewAt = now.Add(min(retryAfter, r.until.Sub(r.began)/10))
	return true
}

func registryOf(image string) string {
	registry, _, _ := strings.Cut(image, "/")
	return registry
}
