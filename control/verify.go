package control

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// VerifyRequest asks whether an image may be pulled.
type VerifyRequest struct {
	// Layers are those of the image, the lowest first. Without any the question is whether
	// every image may be pulled.
	Layers []ClaimedLayer `json:"layers,omitempty"`
	// Image has the daemon read the layers in the registry: it may have credentials that the
	// client has not, such as those of the pull itself. Nil: Layers are all there is.
	Image *ImageName `json:"image,omitempty"`
}

// ImageName names an image as containerd does.
type ImageName struct {
	Name   string        `json:"name"`   // reference
	Digest digest.Digest `json:"digest"` // of the manifest, or of the index
}

// ClaimedLayer is a layer as an image describes it.
type ClaimedLayer struct {
	Chain digest.Digest `json:"chain"`         // chain ID, of the diffIDs that the image claims
	Blob  digest.Digest `json:"blob"`          // digest of the blob
	TOC   digest.Digest `json:"toc,omitempty"` // digest of its table of contents; empty: the image has none
}

// Verdict is whether an image may be pulled, and why.
type Verdict struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
}

// VerifyPull asks whether an image may be pulled. It waits for what has to be proved before,
// at most until the deadline of ctx.
func (c *Client) VerifyPull(ctx context.Context, req *VerifyRequest) (*Verdict, error) {
	return call[Verdict](ctx, c, "VerifyPull", req)
}
