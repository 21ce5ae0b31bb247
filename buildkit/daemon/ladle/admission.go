package ladle

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/resolver"
)

const (
	// maxAdmissions bounds the admissions of one repository; the newest are kept.
	maxAdmissions = 64

	// maxImages bounds the images in an answer for one blob.
	maxImages = 8
)

// Image is an image that clients were admitted to.
type Image struct {
	Ref        string   // "docker.io/library/debian:12"
	Repository string   // "docker.io/library/debian"
	Blobs      []string // digests of its layers
}

// admission records that the registry let clients read the manifest of an image. When
// their build has ended, the group has no sessions.
type admission struct {
	Image
	clients session.Group
	proof   *proof // nil: all clients are admitted; else those in it
}

// isOver reports whether no client of the admission is connected.
func (a admission) isOver() bool {
	i := a.clients.SessionIterator()
	return i == nil || i.NextSession() == ""
}

// proof are the sessions of a group that the registry is known to let read an image.
type proof struct {
	mu struct {
		sync.Mutex
		known map[string]bool // by session
	}
}

// Admit records that the registry let all clients of g read the manifest of an image.
func (l *Lender) Admit(image Image, g session.Group) { l.admit(admission{image, g, nil}) }

// Suppose records that the registry let some of the clients of g read the manifest of an
// image. The registry is asked which ones when ladle requests credentials.
func (l *Lender) Suppose(image Image, g session.Group) {
	p := &proof{}
	p.mu.known = map[string]bool{}
	l.admit(admission{image, g, p})
}

func (l *Lender) admit(fresh admission) {
	if fresh.clients == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for repository, all := range l.mu.admitted {
		// Admissions of other repositories are removed, too: a group references
		// much memory of a build that has ended.
		all = slices.DeleteFunc(all, func(a admission) bool {
			same := a.clients == fresh.clients && a.Ref == fresh.Ref && (a.proof == nil) == (fresh.proof == nil)
			if same {
				fresh.Blobs, fresh.proof = union(fresh.Blobs, a.Blobs), a.proof
			}
			return same || a.isOver()
		})
		if l.mu.admitted[repository] = all; len(all) == 0 {
			delete(l.mu.admitted, repository)
		}
	}
	all := slices.Insert(l.mu.admitted[fresh.Repository], 0, fresh)
	l.mu.admitted[fresh.Repository] = all[:min(len(all), maxAdmissions)]
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// proved reports whether the registry is known to let a session read the image.
func (a admission) proved(id string) bool {
	if a.proof == nil {
		return true
	}
	a.proof.mu.Lock()
	defer a.proof.mu.Unlock()
	return a.proof.mu.known[id]
}

// mayRead reports whether the registry lets a session read the image of a; if that is not
// known, it requests the manifest. A refusal is not cached: the client can log in later.
func (l *Lender) mayRead(ctx context.Context, a admission, id string) bool {
	if a.proved(id) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	manifests := resolver.DefaultPool.GetResolver(l.hosts, a.Ref, resolver.ScopeType{}, l.sessions, session.NewGroup(id))
	if _, _, err := manifests.Resolve(ctx, a.Ref); err != nil {
		bklog.G(ctx).WithError(err).WithField("image", a.Ref).Debug("ladle: client may not read the image")
		return false
	}
	a.proof.mu.Lock()
	defer a.proof.mu.Unlock()
	a.proof.mu.known[id] = true
	return true
}

// clients yields the connected clients that are admitted to repository. Those that are
// only supposed to be admitted come last, and the registry is not asked about one before
// the caller wants it.
func (l *Lender) clients(ctx context.Context, repository string) iter.Seq[session.Caller] {
	l.mu.Lock()
	all := slices.Clone(l.mu.admitted[repository])
	l.mu.Unlock()
	seen := map[string]bool{}
	return func(yield func(session.Caller) bool) {
		for _, lets := range []func(admission, string) bool{
			admission.proved,
			func(a admission, id string) bool { return l.mayRead(ctx, a, id) },
		} {
			for _, a := range all {
				for _, id := range session.AllSessionIDs(a.clients) {
					if seen[id] {
						continue
					}
					c, err := l.sessions.Get(ctx, id, true)
					if err != nil || c == nil || ended(c) || !lets(a, id) {
						continue
					}
					seen[id] = true
					if !yield(c) {
						return
					}
				}
			}
		}
	}
}

// Admitted returns the references of images that have a blob and that clients of g are
// known to be admitted to, the newest first for each repository.
func (l *Lender) Admitted(g session.Group, blob string) (refs []string) {
	if g == nil {
		return nil
	}
	l.mu.Lock()
	var have []admission
	for _, all := range l.mu.admitted {
		for _, a := range all {
			if slices.Contains(a.Blobs, blob) {
				have = append(have, a)
			}
		}
	}
	l.mu.Unlock()
	ids := session.AllSessionIDs(g)
	for _, a := range have {
		is := func(id string) bool { return slices.Contains(ids, id) && a.proved(id) }
		if !slices.Contains(refs, a.Ref) && slices.ContainsFunc(session.AllSessionIDs(a.clients), is) {
			refs = append(refs, a.Ref)
		}
	}
	return refs[:min(len(refs), maxImages)]
}

// images returns the references of images that have a blob and that a connected client is
// admitted to. Registries that must be asked first have sessionTimeout together.
func (l *Lender) images(ctx context.Context, blob string) (refs []string) {
	l.mu.Lock()
	var have []admission
	for _, all := range l.mu.admitted {
		for _, a := range all {
			if slices.Contains(a.Blobs, blob) && !a.isOver() {
				have = append(have, a)
			}
		}
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	for _, a := range have {
		if a.proof == nil || slices.ContainsFunc(session.AllSessionIDs(a.clients), a.proved) {
			refs = append(refs, a.Ref)
		}
	}
	for _, a := range have {
		mayRead := func(id string) bool { return ctx.Err() == nil && l.mayRead(ctx, a, id) }
		if !slices.Contains(refs, a.Ref) && len(refs) < maxImages && slices.ContainsFunc(session.AllSessionIDs(a.clients), mayRead) {
			refs = append(refs, a.Ref)
		}
	}
	slices.Sort(refs)
	refs = slices.Compact(refs)
	return refs[:min(len(refs), maxImages)]
}
