package image

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// A served image can be pulled, in all formats, and its blobs are served in ranges of
// each form, as registries do.
func TestServe(t *testing.T) {
	cache := testCache(t)
	var images []*Image
	for _, f := range Formats() {
		images = append(images, must(cache.Image(t.Context(), "shell", f))(t))
	}
	s, err := Serve(t.Context(), images...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, i := range images {
		t.Run(string(i.Format), func(t *testing.T) {
			pulled := must(remote.Image(must(name.NewTag(s.Addr + "/" + i.Tag()))(t)))(t)
			if err := validate.Image(pulled, validate.Fast); err != nil {
				t.Error(err)
			}
			if got, want := must(pulled.Digest())(t), must(i.Digest())(t); got != want {
				t.Errorf("pulled %s, want %s", got, want)
			}
			checkRanges(t, s.Addr, i)
		})
	}
	if answer := get(t, s.Addr, "shell", "sha256:"+string(bytes.Repeat([]byte("0"), 64)), ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("a blob that is not there: %s", answer.Status)
	}
}

func checkRanges(t *testing.T, addr string, i *Image) {
	t.Helper()
	layer := must(i.Layers())(t)[0]
	blob := must(io.ReadAll(must(layer.Compressed())(t)))(t)
	n := len(blob)
	for _, test := range []struct {
		rng    string
		status int
		want   []byte
	}{
		{"", http.StatusOK, blob},
		{"bytes=0-0", http.StatusPartialContent, blob[:1]},
		{"bytes=100-199", http.StatusPartialContent, blob[100:200]},
		{"bytes=100-", http.StatusPartialContent, blob[100:]},
		{"bytes=100-999999999", http.StatusPartialContent, blob[100:]},
		{"bytes=-50", http.StatusPartialContent, blob[n-50:]},
		{"bytes=999999999-", http.StatusRequestedRangeNotSatisfiable, nil},
	} {
		answer := get(t, addr, i.Name, must(layer.Digest())(t).String(), test.rng)
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != test.status || test.want != nil && !bytes.Equal(body, test.want) {
			t.Errorf("%q: %s, %d bytes, %v", test.rng, answer.Status, len(body), err)
		}
	}
}

func get(t *testing.T, addr, repository, digest, rng string) *http.Response {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v2/"+repository+"/blobs/"+digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rng != "" {
		q.Header.Set("Range", rng)
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}
