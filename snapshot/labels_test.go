package snapshot

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/layer"
)

const transientID = "0a1b2c3d4e5f6g7h8i9j0klmn"

// buildkitLabels are what BuildKit sends in its mode for lazy layers.
func buildkitLabels(target string, blob, toc digest.Digest, layers ...digest.Digest) map[string]string {
	var list []string
	for _, d := range layers {
		list = append(list, d.String())
	}
	return map[string]string{
		"containerd.io/snapshot.ref":                     target,
		"containerd.io/snapshot/remote/stargz.reference": "registry.test/image@sha256:0",
		"containerd.io/snapshot/remote/stargz.digest":    blob.String(),
		"containerd.io/snapshot/remote/stargz.layers":    strings.Join(list, ","),
		"containerd.io/snapshot/cri.image-ref":           "registry.test/image@sha256:0",
		"containerd.io/snapshot/stargz/toc.digest":       toc.String(),
	}
}

// suffixed returns labels with a random identity behind each key.
func suffixed(labels map[string]string) map[string]string {
	with := map[string]string{
		"containerd.io/snapshot/remote/stargz.session.0." + transientID: "session",
	}
	for key, value := range labels {
		if key == "containerd.io/snapshot.ref" {
			with[key] = value
		} else {
			with[key+"."+transientID] = value
		}
	}
	return with
}

func TestParseRequest(t *testing.T) {
	a, b := idOf("a"), idOf("b")
	buildkit := buildkitLabels("t", a.Blob, a.TOC, a.Blob, b.Blob)
	both := suffixed(buildkit)
	maps.Copy(both, buildkit)
	with := func(labels map[string]string, pairs ...string) map[string]string {
		labels = maps.Clone(labels)
		for i := 0; i < len(pairs); i += 2 {
			labels["containerd.io/snapshot/"+pairs[i]] = pairs[i+1]
		}
		return labels
	}
	const stargz = "remote/stargz."
	fromBuildkit := layer.Request{
		Source:   fetch.Source{Ref: "registry.test/image@sha256:0", Digest: a.Blob},
		TOC:      a.TOC,
		Siblings: []digest.Digest{b.Blob},
	}
	fromContainerd := layer.Request{
		Source:   fetch.Source{Ref: "registry.test/image:1", Digest: a.Blob},
		TOC:      a.TOC,
		Manifest: digest.FromString("manifest"),
		Siblings: []digest.Digest{b.Blob},
		DiffID:   digest.FromString("tar of t"),
	}
	noTOC, alone, inStargz := fromContainerd, fromContainerd, fromContainerd
	noTOC.TOC, alone.Siblings = "", nil
	inStargz.Manifest, inStargz.Siblings = "", nil
	// Without a TOC of the descriptor itself BuildKit's names do not tell layers
	// apart. Such a request finds no TOC elsewhere, and the layer is not lazy.
	shared := fromBuildkit
	shared.TOC = ""

	for name, test := range map[string]struct {
		labels map[string]string
		want   layer.Request
		top    bool
		err    string
	}{
		"containerd":                 {labels: lazyLabels("t", a, b), want: fromContainerd},
		"containerd, topmost":        {labels: lazyLabels("t", a), want: alone, top: true},
		"containerd, no list":        {labels: with(lazyLabels("t", a), "cri.image-layers", ""), want: alone},
		"containerd, broken list":    {labels: with(lazyLabels("t", a), "cri.image-layers", "x,"+b.Blob.String()+",sha256:1"), want: fromContainerd},
		"no TOC digest":              {labels: with(lazyLabels("t", a, b), "stargz/toc.digest", ""), want: noTOC},
		"buildkit":                   {labels: buildkit, want: fromBuildkit},
		"buildkit, suffixed":         {labels: suffixed(buildkit), want: fromBuildkit},
		"buildkit, plain and suffix": {labels: both, want: fromBuildkit},
		"buildkit, no TOC digest":    {labels: with(buildkit, "stargz/toc.digest", "", "cri.manifest-digest", digest.FromString("manifest").String()), want: shared},
		"buildkit, TOC in suffix":    {labels: with(both, "stargz/toc.digest", ""), want: shared},
		"broken TOC digest":          {labels: with(lazyLabels("t", a), "stargz/toc.digest", "sha256:1"), err: "toc.digest"},
		"broken diffID":              {labels: with(lazyLabels("t", a), "diff-id", "1"), err: "diff-id"},
		"broken digest":              {labels: with(lazyLabels("t", a), "cri.layer-digest", "../x"), err: "layer-digest"},
		"no digest":                  {labels: with(lazyLabels("t", a), "cri.layer-digest", ""), err: errNoLayer.Error()},
		"no reference":               {labels: with(lazyLabels("t", a), "cri.image-ref", ""), err: errNoLayer.Error()},
		"two dialects":               {labels: with(lazyLabels("t", a, b), stargz+"reference", "registry.test/image:1", stargz+"digest", a.Blob.String()), want: inStargz},
		"image of another":           {labels: with(lazyLabels("t", a), stargz+"reference", "secret.test/image:1", stargz+"digest", a.Blob.String()), err: errTwoLayers.Error()},
		"layer of another":           {labels: with(buildkit, "cri.layer-digest", b.Blob.String()), err: errTwoLayers.Error()},
		"suffixed, of another":       {labels: with(suffixed(buildkit), stargz+"reference", "secret.test/image:1", stargz+"digest", a.Blob.String()), err: errTwoLayers.Error()},
		"nothing":                    {labels: map[string]string{"containerd.io/snapshot.ref": "t"}, err: errNoLayer.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			got, top, err := parseRequest(test.labels)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Siblings) == 0 {
				got.Siblings = nil
			}
			if !reflect.DeepEqual(got, test.want) || top != test.top {
				t.Errorf("got  %+v, topmost %t\nwant %+v, topmost %t", got, top, test.want, test.top)
			}
		})
	}
}

func TestCutTransient(t *testing.T) {
	for key, want := range map[string]bool{
		"containerd.io/snapshot/remote/stargz.digest." + transientID:         true,
		"containerd.io/snapshot/remote/stargz.session.0." + transientID:      true,
		"containerd.io/snapshot/remote/stargz.digest":                        false,
		"containerd.io/snapshot/x." + transientID[1:]:                        false,
		"containerd.io/snapshot/x." + transientID + "0":                      false,
		"containerd.io/snapshot/x." + strings.ToUpper(transientID):           false,
		"example.com/x." + transientID:                                       false,
		"." + transientID:                                                    false,
		"containerd.io/snapshot/.0123456789012345678901234":                  true,
		"containerd.io/snapshot.0123456789012345678901234":                   false,
		"containerd.io/snapshot/remote/stargz.reference":                     false,
		"containerd.io/snapshot/cri.manifest-digest-of-the-image-that-it-is": false,
	} {
		name, suffix, got := cutTransient(key)
		if got != want || name+suffix != key {
			t.Errorf("%s: %t (%q, %q), want %t", key, got, name, suffix, want)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("registry.test/i", "sha256:00", "sha256:00,sha256:01", "", "."+transientID)
	f.Fuzz(func(t *testing.T, ref, blob, layers, toc, suffix string) {
		labels := map[string]string{
			"containerd.io/snapshot/remote/stargz.reference" + suffix: ref,
			"containerd.io/snapshot/remote/stargz.digest" + suffix:    blob,
			"containerd.io/snapshot/remote/stargz.layers" + suffix:    layers,
			"containerd.io/snapshot/stargz/toc.digest" + suffix:       toc,
		}
		var req layer.Request
		var err error
		memtest.BoundSmall(t, len(ref)+len(blob)+len(layers)+len(toc)+4*len(suffix), 64, func() { req, _, err = parseRequest(labels) })
		if err != nil {
			return
		}
		for _, d := range append(req.Siblings, req.Source.Digest) {
			if err := d.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
