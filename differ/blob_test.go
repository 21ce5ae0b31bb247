package differ

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// shelf is containerd's content store, with leases and garbage collection.
type shelf struct {
	*testing.T
	db     *metadata.DB
	leases leases.Manager
	ctx    context.Context
}

func newShelf(t *testing.T) *shelf {
	dir := t.TempDir()
	store, err := local.NewStore(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	db := metadata.NewDB(file, store, nil)
	if err := db.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &shelf{t, db, metadata.NewLeaseManager(db), namespaces.WithNamespace(t.Context(), "some")}
}

func (s *shelf) blob(config diff.Config) *blob {
	s.Helper()
	b := &blob{content: s.db.ContentStore(), leases: s.leases, ref: config.Reference, labels: config.Labels}
	if err := b.setMediaType(config); err != nil {
		s.Fatal(err)
	}
	return b
}

// collect runs containerd's garbage collection.
func (s *shelf) collect() {
	s.Helper()
	if _, err := s.db.GarbageCollect(s.ctx); err != nil {
		s.Fatal(err)
	}
}

func (s *shelf) leaseCount() int {
	s.Helper()
	all, err := s.leases.List(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return len(all)
}

// emptyTar writes a tar with nothing in it.
func emptyTar(w io.Writer) error { return tar.NewWriter(w).Close() }

func emptyDiffID(t *testing.T) digest.Digest {
	var b bytes.Buffer
	if err := emptyTar(&b); err != nil {
		t.Fatal(err)
	}
	return digest.FromBytes(b.Bytes())
}

// TestLayerIsKept: a layer is in the store after a collection of garbage, with its diffID and
// the labels of the caller, in each form.
func TestLayerIsKept(t *testing.T) {
	for _, mediaType := range []string{"", ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd} {
		t.Run(mediaType, func(t *testing.T) {
			s := newShelf(t)
			given := map[string]string{"a": "b"}
			desc, err := s.blob(diff.Config{MediaType: mediaType, Labels: given}).write(s.ctx, emptyTar)
			if err != nil {
				t.Fatal(err)
			}
			s.collect()
			info, err := s.db.ContentStore().Info(s.ctx, desc.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if mediaType == "" {
				mediaType = ocispec.MediaTypeImageLayerGzip
			}
			want := ocispec.Descriptor{MediaType: mediaType, Digest: info.Digest, Size: info.Size}
			if desc.Digest != want.Digest || desc.Size != want.Size || desc.MediaType != want.MediaType {
				t.Errorf("layer is %+v, want %+v", desc, want)
			}
			if info.Labels["a"] != "b" || info.Labels[labels.LabelUncompressed] != emptyDiffID(t).String() {
				t.Errorf("labels are %q", info.Labels)
			}
			if len(given) != 1 {
				t.Errorf("the caller's labels became %q", given)
			}
			if n := s.leaseCount(); n != 1 {
				t.Errorf("%d leases, want the one of the layer", n)
			}
		})
	}
}

// TestLeaseOfTheCaller: a layer is in the lease of the call, if it has one.
func TestLeaseOfTheCaller(t *testing.T) {
	s := newShelf(t)
	lease, err := s.leases.Create(s.ctx, leases.WithID("caller"))
	if err != nil {
		t.Fatal(err)
	}
	desc, err := s.blob(diff.Config{}).write(leases.WithLease(s.ctx, lease.ID), emptyTar)
	if err != nil {
		t.Fatal(err)
	}
	s.collect()
	if _, err := s.db.ContentStore().Info(s.ctx, desc.Digest); err != nil {
		t.Error(err)
	}
	if err := s.leases.Delete(s.ctx, lease); err != nil {
		t.Fatal(err)
	}
	s.collect()
	if _, err := s.db.ContentStore().Info(s.ctx, desc.Digest); !errdefs.IsNotFound(err) {
		t.Errorf("without the lease: %v", err)
	}
}

// TestFailedUpload leaves neither an upload nor a lease, unless the caller has named it.
func TestFailedUpload(t *testing.T) {
	broken := errors.New("broken")
	half := func(w io.Writer) error {
		_, err := w.Write(make([]byte, 3<<20))
		return errors.Join(err, broken)
	}
	s := newShelf(t)
	for ref, left := range map[string]int{"": 0, "named": 1} {
		if desc, err := s.blob(diff.Config{Reference: ref, MediaType: ocispec.MediaTypeImageLayer}).write(s.ctx, half); !errors.Is(err, broken) || desc.Digest != "" {
			t.Fatalf("%q: %+v, %v", ref, desc, err)
		}
		uploads, err := s.db.ContentStore().ListStatuses(s.ctx)
		if err != nil || len(uploads) != left {
			t.Errorf("%q: uploads %+v, %v", ref, uploads, err)
		}
		for _, u := range uploads {
			// The next call by this name begins anew.
			desc, err := s.blob(diff.Config{Reference: u.Ref, MediaType: ocispec.MediaTypeImageLayer}).write(s.ctx, emptyTar)
			if err != nil || desc.Digest != emptyDiffID(t) {
				t.Errorf("%+v, %v", desc, err)
			}
			if err := s.db.ContentStore().Delete(s.ctx, desc.Digest); err != nil {
				t.Error(err)
			}
		}
	}
	s.collect()
	all, err := s.leases.List(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		resources, err := s.leases.ListResources(s.ctx, l)
		if err != nil || len(resources) != 1 {
			t.Errorf("lease %+v has %+v, %v", l, resources, err)
		}
	}
}

// TestLayerWasThere: a blob without the label of its diffID gets it.
func TestLayerWasThere(t *testing.T) {
	s := newShelf(t)
	var b bytes.Buffer
	if err := emptyTar(&b); err != nil {
		t.Fatal(err)
	}
	err := content.WriteBlob(s.ctx, s.db.ContentStore(), "before", bytes.NewReader(b.Bytes()), ocispec.Descriptor{Digest: emptyDiffID(t), Size: int64(b.Len())})
	if err != nil {
		t.Fatal(err)
	}
	desc, err := s.blob(diff.Config{MediaType: ocispec.MediaTypeImageLayer}).write(s.ctx, emptyTar)
	if err != nil || desc.Size != int64(b.Len()) {
		t.Fatalf("%+v, %v", desc, err)
	}
	info, err := s.db.ContentStore().Info(s.ctx, desc.Digest)
	if err != nil || info.Labels[labels.LabelUncompressed] != emptyDiffID(t).String() {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestNoNamespace: a call without a namespace is refused.
func TestNoNamespace(t *testing.T) {
	s := newShelf(t)
	if _, err := s.blob(diff.Config{}).write(t.Context(), emptyTar); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("%v, want %v", err, errdefs.ErrFailedPrecondition)
	}
}
