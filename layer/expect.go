package layer

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/index"
)

// expect returns the claim of the image about the layer's TOC: from the request, or else
// from the image's manifest, which it fetches and verifies. It returns ErrUnverified if
// neither has one.
func (s *Set) expect(ctx context.Context, req Request) (index.Claim, error) {
	if req.TOC != "" {
		return index.Claim{TOC: req.TOC}, nil
	}
	if req.Manifest == "" {
		return index.Claim{}, fmt.Errorf("%w: neither TOC digest nor manifest is known", ErrUnverified)
	}
	manifest, err := s.manifest(ctx, req)
	if err != nil {
		return index.Claim{}, err
	}
	return claimOf(manifest, req.Source.Digest)
}

// claimOf returns what a manifest says about the TOC of a layer; ErrUnverified if it says
// nothing.
func claimOf(manifest []byte, blob digest.Digest) (index.Claim, error) {
	claim, err := index.ReadClaim(manifest, blob)
	if err != nil {
		return index.Claim{}, fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	if claim.TOC == "" && claim.CompressedTOC == "" {
		return index.Claim{}, fmt.Errorf("%w: the manifest names no TOC digest", ErrUnverified)
	}
	return claim, nil
}

// check compares an index with the claim about it.
func check(claim index.Claim, idx *encoded) error {
	return checkDigests(claim, idx.toc, idx.compressedTOC)
}

// checkDigests compares the digests of a TOC and of its compressed bytes with the claim
// about it.
func checkDigests(claim index.Claim, toc, compressed digest.Digest) error {
	if claim.TOC != "" && claim.TOC != toc {
		return fmt.Errorf("%w: TOC has digest %s, the image says %s", ErrUnverified, toc, claim.TOC)
	}
	if claim.CompressedTOC != "" && claim.CompressedTOC != compressed {
		return fmt.Errorf("%w: compressed TOC has digest %s, the image says %s", ErrUnverified, compressed, claim.CompressedTOC)
	}
	return nil
}

// manifest returns the manifest of req's image. Concurrent calls for layers of one image
// share one fetch.
func (s *Set) manifest(ctx context.Context, req Request) ([]byte, error) {
	key := req.Source.Ref + " " + req.Manifest.String()
	return s.once.manifest.Do(ctx, key, s.opts.OpenTimeout, func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)() // it ends with the set, too
		return s.fetch.Manifest(ctx, req.Source.Ref, req.Manifest)
	})
}
