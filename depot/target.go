package depot

import (
	"bytes"
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content opens what is to be written, from its start. It is called once more for each
// attempt.
type Content func(context.Context) (io.ReadCloser, error)

// Target is what one image is written to. It may be used concurrently.
type Target interface {
	// Put stores a blob or a manifest under its digest, unless the target has it. It
	// verifies size and digest. Origin is what the content is copied from; nil: it
	// is new. A registry may then take it from another of its repositories.
	Put(ctx context.Context, desc ocispec.Descriptor, origin Origin, open Content) error

	// Name stores a manifest or index under the name that the reference has. All
	// that it refers to must have been stored.
	Name(ctx context.Context, d Document) error

	Close() error
}

// Attachment is where artifacts are put that refer to an image (OCI image specification,
// manifest.md, "subject"). It may be used concurrently.
type Attachment interface {
	// Put is that of Target.
	Put(ctx context.Context, desc ocispec.Descriptor, origin Origin, open Content) error

	// Attach stores the manifest of an artifact with indexes, and lists it among what
	// refers to the manifest subject, in the place of others of its type if the list
	// is an index with a tag. All that it refers to must have been stored.
	Attach(ctx context.Context, artifact Document, subject digest.Digest) error

	Close() error
}

// Bytes returns content that is in memory.
func Bytes(b []byte) Content {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}
