package fetch

import (
	"errors"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

func TestManifest(t *testing.T) {
	body := []byte(`{"schemaVersion": 2}`)
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, opts)
			d := r.AddManifest("library/test:1", "application/vnd.oci.image.manifest.v1+json", body)
			c := client(t)
			got, err := c.Manifest(within(t), r.Ref("library/test:1"), d)
			if err != nil || string(got) != string(body) {
				t.Errorf("by digest: %q %v", got, err)
			}
			got, dgst, err := c.ManifestByTag(within(t), r.Ref("library/test:1"))
			if err != nil || string(got) != string(body) || dgst != d {
				t.Errorf("by tag: %q %s %v", got, dgst, err)
			}
			for _, q := range r.Log() {
				if q.Kind == registrytest.Manifest && !strings.Contains(q.Header.Get("Accept"), "oci.image.index") {
					t.Errorf("Accept: %q", q.Header.Get("Accept"))
				}
			}
		})
	}
}

func TestManifestFaults(t *testing.T) {
	t.Parallel()
	body := []byte(`{"schemaVersion": 2}`)
	for name, c := range map[string]struct {
		f    registrytest.Fault
		want error
		once error // what it comes to if it happens once only
	}{
		"400":             {registrytest.Fault{Status: 400}, ErrUnavailable, nil},
		"401":             {registrytest.Fault{Status: 401}, ErrUnauthorized, ErrUnauthorized},
		"404":             {registrytest.Fault{Status: 404}, ErrNotFound, ErrNotFound},
		"429":             {registrytest.Fault{Status: 429}, ErrUnavailable, nil},
		"500":             {registrytest.Fault{Status: 500}, ErrUnavailable, nil},
		"closed at once":  {registrytest.Fault{Close: registrytest.After(-1)}, ErrUnavailable, nil},
		"closed":          {registrytest.Fault{Close: registrytest.After(5)}, ErrUnavailable, nil},
		"stalls":          {registrytest.Fault{Stall: registrytest.After(5)}, ErrUnavailable, nil},
		"wrong bytes":     {registrytest.Fault{Corrupt: true}, ErrUnavailable, nil},
		"too few bytes":   {registrytest.Fault{Truncate: registrytest.After(5)}, ErrUnavailable, nil},
		"no length":       {registrytest.Fault{NoLength: true}, nil, nil},
		"slow but steady": {registrytest.Fault{Slow: 1000}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
			d := r.AddManifest("library/test:1", "application/json", body)
			get := func(c *Client) error {
				got, err := c.Manifest(within(t), r.Ref("library/test:1"), d)
				if err == nil && string(got) != string(body) {
					t.Errorf("got %q", got)
				}
				_, dgst, tagErr := c.ManifestByTag(within(t), r.Ref("library/test:1"))
				if tagErr == nil && dgst != d {
					t.Errorf("got digest %s", dgst)
				}
				return errors.Join(err, tagErr)
			}
			r.SetFault(registrytest.Always(registrytest.Manifest, c.f))
			if err := get(client(t, c.f)); !errors.Is(err, c.want) {
				t.Errorf("always: error %v, want %v", err, c.want)
			}
			r.Reset()
			r.SetFault(registrytest.First(1, registrytest.Manifest, c.f))
			if err := get(client(t, c.f)); !errors.Is(err, c.once) {
				t.Errorf("once: error %v, want %v", err, c.once)
			}
			r.SetFault(nil)
			m.AddManifest("library/test:1", "application/json", body)
			m.SetFault(registrytest.Always(registrytest.Manifest, c.f))
			if err := get(mirrored(t, r, m, c.f)); err != nil {
				t.Errorf("at a mirror: %v", err)
			}
		})
	}
}

func TestBadManifests(t *testing.T) {
	r := registrytest.New(t, registrytest.Options{})
	c := client(t)
	big := r.AddManifest("library/test:big", "application/json", make([]byte, maxManifest+1))
	if _, err := c.Manifest(within(t), r.Ref("library/test:big"), big); !errors.Is(err, ErrUnavailable) {
		t.Errorf("too large: %v", err)
	}
	fits := r.AddManifest("library/test:fits", "application/json", make([]byte, maxManifest))
	if _, err := c.Manifest(within(t), r.Ref("library/test:fits"), fits); err != nil {
		t.Errorf("just not too large: %v", err)
	}
	if _, err := c.Manifest(within(t), r.Ref("library/test:1"), "sha256:1"); err == nil {
		t.Error("bad digest: no error")
	}
	for _, ref := range []string{"", "://", r.Ref("library/test"), r.Ref("library/test@" + string(big))} {
		if _, _, err := c.ManifestByTag(within(t), ref); err == nil {
			t.Errorf("by tag of %q: no error", ref)
		}
	}
	if _, _, err := c.ManifestByTag(within(t), r.Ref("library/test:absent")); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}
