package layer

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Lenders lend credentials for images and say where their registries are, as
// *auth.Offers does (package auth). They are used concurrently.
type Lenders interface {
	// Offer takes an offer for the repository of the image ref: its lender
	// answers at socket. It waits for nothing.
	Offer(ref, socket string)
	// Images returns further images with a blob, which may be readable, if the
	// images known may not be read any more. It asks the lenders for these.
	Images(ctx context.Context, known []string, blob digest.Digest) []string
}

// Offer passes an offer for the repository of the image ref on to
// Options.Lenders. The next request for a blob of the repository goes to the hosts
// that the lender says, as soon as it has said so: what is known of them is asked
// for again.
func (s *Set) Offer(ref, socket string) {
	if s.opts.Lenders == nil {
		return
	}
	s.opts.Lenders.Offer(ref, socket)
	s.fetch.AskAgain(ref)
}
