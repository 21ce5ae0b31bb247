package ladle

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/resolver/config"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// guarded is a registry with one blob for clients that log in.
type guarded struct {
	*httptest.Server
	blob []byte
	read atomic.Int64 // how often somebody got the blob
}

func newGuarded(t *testing.T, blob []byte) *guarded {
	g := &guarded{blob: blob}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); !strings.HasSuffix(password, "secret") { // users have a colon in their names
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if !strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		g.read.Add(1)
		_, _ = w.Write(g.blob)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) host() string { return strings.TrimPrefix(g.URL, "http://") }

// A lazy layer is read with the credentials of the clients of the build that reads it,
// and not of earlier ones; first from the images that these clients are admitted to.
func TestSourcesGiveNoAccess(t *testing.T) {
	blob := []byte("a layer")
	desc := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayerGzip, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	one, two := newGuarded(t, blob), newGuarded(t, blob)
	http := true
	registries := map[string]config.RegistryConfig{one.host(): {PlainHTTP: &http}, two.host(): {PlainHTTP: &http}}
	o := newOffice(t, registries)
	known := session.NewGroup(o.connect(t, &client{user: "ali", secret: "secret"}).ID())
	unknown := session.NewGroup(o.connect(t, &client{user: "bob", secret: "other"}).ID())
	l := newLab(t, &backend{merges: true})
	l.commit(t, "local", "")
	if err := l.Prepare(t.Context(), "active", "", snapshots.WithLabels(map[string]string{remoteLabel: "yes"})); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), "remote", "active", snapshots.WithLabels(map[string]string{remoteLabel: "yes"})); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(stored{Images: []string{one.host() + "/image:1"}})
	if err != nil {
		t.Fatal(err)
	}
	external := func(string) ([]byte, error) { return text, nil }
	sources := NewSources(o.sessions, registries, o.Admitted)
	for _, key := range []string{"local", "missing"} {
		if h := sources.Of(t.Context(), l.Snapshotter, key, external); h != nil {
			t.Errorf("there is a handler for the snapshot that is %s", key)
		}
	}
	if h := sources.Of(t.Context(), l.Snapshotter, "remote", func(string) ([]byte, error) { return nil, os.ErrNotExist }); h != nil {
		t.Error("there is a handler for a layer of which nothing is stored")
	}
	h := sources.Of(t.Context(), l.Snapshotter, "remote", external)
	if h == nil {
		t.Fatal("there is no handler for the remote snapshot")
	}
	read := func(g session.Group) (string, error) {
		r, err := h.Provider(g).ReaderAt(t.Context(), desc)
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(content.NewReader(r))
		return string(text), err
	}
	if got, err := read(known); err != nil || got != string(blob) {
		t.Errorf("the layer reads %q, %v", got, err)
	}
	for name, g := range map[string]session.Group{"another client": unknown, "no client": nil} {
		if got, err := read(g); err == nil {
			t.Errorf("%s reads %q", name, got)
		}
	}
	if one.read.Load() == 0 || two.read.Load() != 0 {
		t.Errorf("the registries were read %d and %d times", one.read.Load(), two.read.Load())
	}
	o.Admit(Image{Ref: two.host() + "/other:1", Repository: two.host() + "/other", Blobs: []string{desc.Digest.String()}}, known)
	before := one.read.Load()
	if got, err := read(known); err != nil || got != string(blob) {
		t.Errorf("the layer of the other image reads %q, %v", got, err)
	}
	if one.read.Load() != before || two.read.Load() == 0 {
		t.Error("the layer was not read from the image that the client was let read")
	}
	if got := o.Admitted(unknown, desc.Digest.String()); len(got) != 0 {
		t.Errorf("a client that was let read nothing has %v", got)
	}
}
