package layer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// trusting uses attached indexes, and does nothing in the background.
var trusting = layer.Options{
	NoFill: true, NoPrefetch: true, ReadTimeout: time.Minute, OpenTimeout: time.Minute,
	Importing: layer.Importing{Enable: true}, Trust: layer.TrustAttached,
}

// nowhere is a data file that is not kept.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// documentOf returns the document of a blob.
func documentOf(t *testing.T, blob []byte) *index.Document {
	t.Helper()
	got, err := index.Import(t.Context(), io.NopCloser(bytes.NewReader(blob)), nowhere{})
	if err != nil {
		t.Fatal(err)
	}
	return &index.Document{Blob: got.Blob, BlobSize: int64(len(blob)), DiffID: got.DiffID, Index: got.Index}
}

// attachedBench is a bench with a plain layer, in an image to which the document is attached
// that is made of the right one by change.
func attachedBench(t *testing.T, opts registrytest.Options, pack func(testing.TB, []byte) []byte, change func(*index.Document)) *bench {
	t.Helper()
	files := someFiles(1, 30)
	b := &bench{Registry: registrytest.New(t, opts), files: files, root: filepath.Join(t.TempDir(), "store")}
	tarball := tarOf(t, files)
	b.blob = pack(t, tarball)
	b.req = layer.Request{
		Source: fetch.Source{Ref: b.Ref("app:1"), Digest: b.AddBlob(b.blob)},
		Proves: provedBy(digest.FromBytes(tarball)),
	}
	doc := documentOf(t, b.blob)
	if change != nil {
		change(doc)
	}
	encoded, err := index.EncodeDocument(doc)
	if err != nil {
		t.Fatal(err)
	}
	b.attach(t, encoded)
	return b
}

// attach attaches a document to the bench's image.
func (b *bench) attach(t *testing.T, document []byte) {
	t.Helper()
	b.req.Manifest = b.manifest(t, nil)
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: b.req.Manifest, Size: 7}
	artifact := b.artifact(t, subject, document)
	list, err := index.AddReferrer(nil, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: artifact, Size: 7})
	if err != nil {
		t.Fatal(err)
	}
	b.AddManifest("app:"+fetch.ReferrersTag(b.req.Manifest), ocispec.MediaTypeImageIndex, list)
	b.Reset()
}

// manifest adds the manifest of the bench's image, with annotations.
func (b *bench) manifest(t *testing.T, annotations map[string]string) digest.Digest {
	t.Helper()
	m, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: annotations,
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: b.req.Source.Digest, Size: int64(len(b.blob))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.AddManifest("app:1", ocispec.MediaTypeImageManifest, m)
}

// artifact adds an artifact with the document of the bench's layer.
func (b *bench) artifact(t *testing.T, subject ocispec.Descriptor, document []byte) digest.Digest {
	t.Helper()
	m, err := index.NewArtifact(subject, []digest.Digest{b.req.Source.Digest}, map[digest.Digest]ocispec.Descriptor{
		b.req.Source.Digest: {Digest: b.AddBlob(document), Size: int64(len(document))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.AddManifest("app:artifact", ocispec.MediaTypeImageManifest, m)
}

// TestAttachedIndex: a layer with an attached index is lazy; from registries with and without
// the API, whatever it is compressed with, and after a restart.
func TestAttachedIndex(t *testing.T) {
	for _, name := range []string{"gzip", "members", "uncompressed"} {
		for _, api := range []bool{true, false} {
			t.Run(name+"/"+strconv.FormatBool(api), func(t *testing.T) {
				b := attachedBench(t, registrytest.Options{Referrers: api}, packers[name], nil)
				b.start(t, trusting, store.Options{})
				l := b.open(t)
				if l.Full() || l.ID().Indexed() == "" || b.Sent() > int64(len(b.blob))/4 {
					t.Errorf("%s: full %v, %d bytes of %d were fetched", l.ID().TOC, l.Full(), b.Sent(), len(b.blob))
				}
				if asked := b.Count(registrytest.Referrer); asked != 1 {
					t.Errorf("it was asked %d times for what is attached", asked)
				}
				b.open(t)
				b.stop(t)
				b.start(t, trusting, store.Options{})
				b.wantFiles(t, b.open(t))
			})
		}
	}
}

// TestNoAttachedIndex: one round trip for the image, once.
func TestNoAttachedIndex(t *testing.T) {
	b := attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
	b.req.Manifest = b.manifest(t, map[string]string{"of": "another image"})
	b.start(t, trusting, store.Options{})
	for range 2 {
		if l := b.open(t); l.ID().Imported() == "" {
			t.Errorf("the layer is %s", l.ID().TOC)
		}
	}
	if asked := b.Count(registrytest.Referrer); asked != 1 {
		t.Errorf("it was asked %d times for what is attached", asked)
	}
}

// TestTrust: an attached index is used only if it is trusted; a bound one always.
func TestTrust(t *testing.T) {
	b := attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
	bound := trusting
	bound.Trust = layer.TrustBound
	b.start(t, bound, store.Options{})
	if l := b.open(t); l.ID().Imported() == "" {
		t.Errorf("the layer is %s", l.ID().TOC)
	}
	waitFor(t, func() bool { return b.Count(registrytest.Referrer) == 1 }) // for the log
	b = attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
	document, err := index.EncodeDocument(documentOf(t, b.blob))
	if err != nil {
		t.Fatal(err)
	}
	artifact := b.artifact(t, ocispec.Descriptor{}, document)
	b.req.Manifest = b.manifest(t, map[string]string{"io.github.ladle-dev.index.manifest": artifact.String()})
	b.start(t, bound, store.Options{})
	l := b.open(t)
	if l.ID().Indexed() != digest.FromBytes(document) {
		t.Errorf("the layer is %s", l.ID().TOC)
	}
	b.wantFiles(t, l)
}

// TestIndexThatCannotBeFetched: the layer is imported, whatever goes wrong.
func TestIndexThatCannotBeFetched(t *testing.T) {
	document := func(b *bench) digest.Digest {
		for _, d := range b.Blobs() {
			if d != b.req.Source.Digest {
				return d
			}
		}
		return ""
	}
	for name, fault := range map[string]func(b *bench, q registrytest.Request) registrytest.Fault{
		"no answer": func(_ *bench, q registrytest.Request) registrytest.Fault {
			if q.Kind == registrytest.Referrer || strings.Contains(q.Path, "/manifests/sha256-") {
				return registrytest.Fault{Stall: registrytest.After(-1)}
			}
			return registrytest.Fault{}
		},
		"forbidden": func(_ *bench, q registrytest.Request) registrytest.Fault {
			if q.Kind == registrytest.Referrer || q.Kind == registrytest.Manifest {
				return registrytest.Fault{Status: http.StatusForbidden}
			}
			return registrytest.Fault{}
		},
		"no document": func(b *bench, q registrytest.Request) registrytest.Fault {
			if q.Digest == document(b) {
				return registrytest.Fault{Status: http.StatusNotFound}
			}
			return registrytest.Fault{}
		},
		"another document": func(b *bench, q registrytest.Request) registrytest.Fault {
			return registrytest.Fault{Corrupt: q.Digest == document(b)}
		},
		"half a document": func(b *bench, q registrytest.Request) registrytest.Fault {
			if q.Digest == document(b) {
				return registrytest.Fault{Stall: registrytest.After(100)}
			}
			return registrytest.Fault{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
			b.SetFault(func(q registrytest.Request) registrytest.Fault { return fault(b, q) })
			opts := trusting
			opts.OpenTimeout = 3 * time.Second
			b.start(t, opts, store.Options{})
			l := b.open(t)
			if l.ID().Imported() == "" {
				t.Errorf("the layer is %s", l.ID().TOC)
			}
			b.wantFiles(t, l)
		})
	}
}

// lies are documents that are not that of the layer, in what they say.
var lies = map[string]func(*index.Document){
	"chunk": func(d *index.Document) { d.Chunks[5].Digest[0] ^= 1 },
	"hole":  func(d *index.Document) { d.Chunks = append(d.Chunks[:7:7], d.Chunks[8:]...) },
	"mode": func(d *index.Document) {
		d.Root.Dir.Lookup("large").Mode |= 0o4000
	},
	"name": func(d *index.Document) {
		d.Root.Dir.Lookup("small").Dir.Add("su", d.Root.Dir.Lookup("large"))
	},
	"place": func(d *index.Document) {
		d.Root.Dir.Lookup("large").Data = tree.Extent{}
	},
}

// TestLyingIndex: what a wrong index says is found out when the layer is full. It is out of
// service then, and the index is not used again: the layer is imported.
func TestLyingIndex(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := attachedBench(t, registrytest.Options{}, packers["gzip"], lie)
			opts := trusting
			opts.NoFill, opts.FillDelay = false, time.Millisecond
			b.start(t, opts, store.Options{})
			l := b.open(t)
			id := l.ID()
			waitFor(t, func() bool { return b.store.Proof(id).Wrong != "" })
			if _, err := l.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, layer.ErrWrong) {
				t.Errorf("a read ended with %v", err)
			}
			if _, err := b.set.Layer(id); !errors.Is(err, layer.ErrWrong) {
				t.Errorf("it is shared, with %v", err)
			}
			if _, err := b.set.Open(t.Context(), layer.Request{Source: b.req.Source, TOC: id.TOC}); !errors.Is(err, layer.ErrWrong) {
				t.Errorf("it is opened again, with %v", err)
			}
			again := b.open(t)
			if again.ID().Imported() == "" {
				t.Errorf("it is opened again as %s", again.ID().TOC)
			}
			b.wantFiles(t, again)
		})
	}
}

// TestOtherDiffID: a document of another diffID than that of the image, or of another blob, is
// not used.
func TestOtherDiffID(t *testing.T) {
	for name, change := range map[string]func(*index.Document){
		"diffID": func(d *index.Document) { d.DiffID = digest.FromString("another tar") },
		"blob":   func(d *index.Document) { d.Blob = digest.FromString("another blob") },
		"size":   func(d *index.Document) { d.BlobSize++ },
	} {
		b := attachedBench(t, registrytest.Options{}, packers["gzip"], change)
		b.start(t, trusting, store.Options{})
		if l := b.open(t); l.ID().Imported() == "" {
			t.Errorf("%s: the layer is %s", name, l.ID().TOC)
		}
	}
}

// TestClaimedDiffID: an image claims the diffID of another one, and so does the index; the blob
// is a tar of its own, or none at all.
func TestClaimedDiffID(t *testing.T) {
	other := digest.FromString("another's tar")
	for name, blob := range map[string]func(testing.TB, []byte) []byte{
		"tar":    packers["gzip"],
		"no tar": func(t testing.TB, b []byte) []byte { return packed(t, append(b[1:], b...), 1<<30) },
	} {
		t.Run(name, func(t *testing.T) {
			b := attachedBench(t, registrytest.Options{}, packers["gzip"], func(d *index.Document) { d.DiffID = other })
			doc := documentOf(t, b.blob)
			doc.DiffID = other
			if name == "no tar" {
				b.blob = blob(t, tarOf(t, b.files))
				b.req.Source.Digest = b.AddBlob(b.blob)
				doc.Blob, doc.BlobSize = b.req.Source.Digest, int64(len(b.blob))
			}
			encoded, err := index.EncodeDocument(doc)
			if err != nil {
				t.Fatal(err)
			}
			b.attach(t, encoded)
			b.req.Proves = provedBy(other)
			opts := trusting
			opts.NoFill, opts.FillDelay = false, time.Millisecond
			b.start(t, opts, store.Options{})
			id := b.open(t).ID()
			if id.Indexed() == "" {
				t.Fatalf("the layer is %s", id.TOC)
			}
			waitFor(t, func() bool { return b.store.Proof(id).Wrong != "" })
			if id, err := b.set.Open(t.Context(), b.req); err == nil {
				t.Errorf("it is opened again as %s", id.TOC)
			}
		})
	}
}

// TestConfirmed: a layer with the right index is full after it was confirmed, which is done once;
// without the background, when readers have filled it.
func TestConfirmed(t *testing.T) {
	for _, noFill := range []bool{false, true} {
		b := attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
		opts := trusting
		opts.NoFill, opts.FillDelay = noFill, time.Millisecond
		b.start(t, opts, store.Options{BootID: "a"})
		l := b.open(t)
		id := l.ID()
		if noFill {
			b.wantFiles(t, l)
		}
		if _, ok := l.DataFile(t.Context()); ok && !b.confirmed(id) {
			t.Error("the kernel may read a layer that is not confirmed")
		}
		waitFor(t, func() bool { return l.Full() && b.confirmed(id) })
		waitFor(t, func() bool { _, ok := l.DataFile(t.Context()); return ok })
		b.stop(t)
		b.start(t, opts, store.Options{BootID: "a"})
		b.Close() // the registry
		again, err := b.set.Layer(id)
		if err != nil {
			t.Fatal(err)
		}
		b.opened = append(b.opened, again)
		b.wantFiles(t, again)
		if !b.confirmed(id) {
			t.Error("that it was confirmed is forgotten")
		}
	}
}

// TestAttachedIndexIsProvedOnRequest: nobody has the layer open.
func TestAttachedIndexIsProvedOnRequest(t *testing.T) {
	b := attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
	b.start(t, trusting, store.Options{})
	id, err := b.set.Open(t.Context(), b.req)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := b.set.Prove(t.Context(), id); err != nil || !b.req.Proves(p.DiffID) || p.Wrong != "" {
		t.Errorf("the proof is %+v, %v", p, err)
	}
}

// confirmed reports whether the store says that a layer is confirmed.
func (b *bench) confirmed(id store.ID) bool {
	return b.store.Proof(id).DiffID != "" && b.store.Proof(id).Wrong == ""
}

// TestLostLayerWithAttachedIndex: the layer of a snapshot, which the store has lost, comes back
// by the digest of its document.
func TestLostLayerWithAttachedIndex(t *testing.T) {
	b := attachedBench(t, registrytest.Options{}, packers["gzip"], nil)
	b.start(t, trusting, store.Options{})
	id := b.open(t).ID()
	b.stop(t)
	if err := os.RemoveAll(b.root); err != nil {
		t.Fatal(err)
	}
	b.start(t, trusting, store.Options{})
	b.req = layer.Request{Source: b.req.Source, TOC: id.TOC}
	l := b.open(t)
	if l.ID() != id {
		t.Errorf("it is %s, and was %s", l.ID().TOC, id.TOC)
	}
	b.wantFiles(t, l)
}
