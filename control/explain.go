package control

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// ExplainRequest asks why an image can be read, or cannot.
type ExplainRequest struct {
	Image string `json:"image"` // "registry/repository:tag" or "registry/repository@digest"
}

// Explanation says which credentials there are for an image, and what this node can read of
// it. It has no secret.
type Explanation struct {
	Schema     int              `json:"schema"` // 1
	Image      string           `json:"image"`
	Repository string           `json:"repository"` // "registry/path"
	Hosts      []ExplainedHost  `json:"hosts"`      // in the order in which they are asked for blobs
	Layers     []ExplainedLayer `json:"layers"`     // of the image on this node, in no order of their own
}

// ExplainedHost is a host that has the blobs of a repository, and what sources have for it.
type ExplainedHost struct {
	Host    string            `json:"host"`
	Answers []ExplainedAnswer `json:"answers"` // in the order in which sources are asked
}

// ExplainedAnswer is the answer of a source of credentials.
type ExplainedAnswer struct {
	Source string     `json:"source"`
	Result string     `json:"result"` // found, none, failed or refused
	Reason string     `json:"reason,omitempty"`
	Until  *time.Time `json:"until,omitempty"` // when what was found is renewed
}

// What this node can read of a layer.
const (
	LayerFull       = "full"       // all of it is on the node
	LayerReadable   = "readable"   // and what is not on the node can be had now
	LayerUnreadable = "unreadable" // what is not on the node cannot be had now
	LayerNotLazy    = "not lazy"   // it could not be opened, and was left to the ordinary pull
)

// ExplainedLayer is a layer of an image on this node.
type ExplainedLayer struct {
	Layer       digest.Digest `json:"layer"` // the blob
	State       string        `json:"state"` // LayerFull and so on
	Chunks      int           `json:"chunks"`
	Present     int           `json:"present"` // of these, on disk
	Reason      string        `json:"reason,omitempty"`
	Credentials bool          `json:"credentials"` // the reason is that the registry refused the credentials, or there are none
}

// Explain asks which credentials there are for an image, and what of it can be read.
func (c *Client) Explain(ctx context.Context, req *ExplainRequest) (*Explanation, error) {
	return call[Explanation](ctx, c, "Explain", req)
}
