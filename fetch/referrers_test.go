package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

const manifestType = ocispec.MediaTypeImageManifest

// TestReferrers asks registries with and without the API, and one that has neither that nor
// the tag.
func TestReferrers(t *testing.T) {
	for _, has := range []bool{true, false} {
		r := registrytest.New(t, registrytest.Options{Referrers: has})
		subject := r.AddManifest("app:1", manifestType, []byte(`{"layers":[]}`))
		artifact := r.AddManifest("app:artifact", manifestType, fmt.Appendf(nil, `{"layers":[],"subject":{"digest":%q}}`, subject))
		c := client(t)
		list, api, err := c.Referrers(within(t), r.Ref("app:1"), subject)
		if err != nil || api != has || !has && list != nil {
			t.Errorf("API %v: %q, %v, %v", has, list, api, err)
		}
		tagged := fmt.Appendf(nil, `{"manifests":[{"digest":%q}]}`, artifact)
		r.AddManifest("app:"+ReferrersTag(subject), ocispec.MediaTypeImageIndex, tagged)
		list, api, err = c.Referrers(within(t), r.Ref("app@"+subject.String()), subject)
		if err != nil || api != has || !has && !bytes.Equal(list, tagged) {
			t.Errorf("API %v: %q, %v, %v", has, list, api, err)
		}
		if !has {
			continue
		}
		var idx ocispec.Index
		if err := json.Unmarshal(list, &idx); err != nil || len(idx.Manifests) != 1 || idx.Manifests[0].Digest != artifact {
			t.Errorf("%q, %v", list, err)
		}
	}
}

// TestReferrersOfRegistryThatFails: an answer that is not "not found" is an error, unless the
// other request tells.
func TestReferrersOfRegistryThatFails(t *testing.T) {
	r := registrytest.New(t, registrytest.Options{})
	subject := digest.FromString("subject")
	refuse := func(kind registrytest.Kind, status int) {
		r.SetFault(registrytest.Always(kind, registrytest.Fault{Status: status}))
	}
	for status, want := range map[int]error{
		http.StatusInternalServerError: ErrUnavailable, http.StatusForbidden: ErrUnauthorized, http.StatusNotFound: nil,
	} {
		for _, kind := range []registrytest.Kind{registrytest.Referrer, registrytest.Manifest} {
			refuse(kind, status)
			list, _, err := client(t).Referrers(within(t), r.Ref("app:1"), subject)
			if list != nil || !errors.Is(err, want) {
				t.Errorf("%s with status %d: %q, %v, want %v", kind, status, list, err, want)
			}
		}
	}
	r.AddManifest("app:"+ReferrersTag(subject), ocispec.MediaTypeImageIndex, []byte(`{"manifests":[]}`))
	refuse(registrytest.Referrer, http.StatusInternalServerError)
	if list, api, err := client(t).Referrers(within(t), r.Ref("app:1"), subject); len(list) == 0 || api || err != nil {
		t.Errorf("%q, %v, %v", list, api, err)
	}
	if _, _, err := client(t).Referrers(within(t), r.Ref("app:1"), "sha256:short"); err == nil {
		t.Error("a digest that is none is accepted")
	}
}
