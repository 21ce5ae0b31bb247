package index

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestArtifact makes the manifest of an artifact, and reads it.
func TestArtifact(t *testing.T) {
	image := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 7,
		Annotations: map[string]string{"of": "an index"}, Platform: &ocispec.Platform{OS: "linux"},
	}
	one, two, three := digest.FromString("one"), digest.FromString("two"), digest.FromString("three")
	documents := map[digest.Digest]ocispec.Descriptor{
		one:   {Digest: digest.FromString("document one"), Size: 11},
		three: {Digest: digest.FromString("document three"), Size: MaxDocument},
	}
	b, err := NewArtifact(image, []digest.Digest{three, two, one, three}, documents)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadArtifact(b)
	if err != nil || a.Subject != image.Digest || len(a.Documents) != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	for blob, want := range documents {
		if got := a.Documents[blob]; got.Digest != want.Digest || got.Size != want.Size {
			t.Errorf("%s has %+v, want %+v", blob, got, want)
		}
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil || m.Layers[0].Digest != documents[three].Digest || m.Subject.Annotations != nil || m.Subject.Platform != nil {
		t.Errorf("%s, %v", b, err)
	}
	for old, other := range map[string]string{
		ArtifactType:                   "application/example",
		one.String():                   "sha256:one",
		`"size":11`:                    `"size":0`,
		`"size":268435456`:             `"size":268435457`,
		`"layers":[`:                   `"layers":[3,`,
		`{"schemaVersion":2`:           `{"schemaVersion":2,`,
		documents[one].Digest.String(): "sha256:",
	} {
		if a, err := ReadArtifact([]byte(strings.ReplaceAll(string(b), old, other))); err == nil {
			t.Errorf("with %q it is %+v", other, a)
		}
	}
}

// TestReferrers adds artifacts to lists.
func TestReferrers(t *testing.T) {
	desc := func(name string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType, Digest: digest.FromString(name), Size: 3}
	}
	list, err := AddReferrer(nil, desc("first"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := AddReferrer(list, desc("first")); err != nil || string(again) != string(list) {
		t.Errorf("%s, %v, want %s", again, err, list)
	}
	other := `{"mediaType":"application/example","digest":"` + digest.FromString("other").String() + `","size":3,"artifactType":"application/example"}`
	list = []byte(strings.Replace(string(list), `"manifests":[`, `"manifests":[`+other+`,`, 1))
	if list, err = AddReferrer(list, desc("second")); err != nil || !strings.Contains(string(list), other) {
		t.Errorf("%s, %v", list, err)
	}
	found, err := ReadReferrers(list)
	if err != nil || !reflect.DeepEqual(found, []ocispec.Descriptor{desc("second")}) {
		t.Errorf("%+v, %v", found, err)
	}
	for _, wrong := range []string{"", "[]", `{"manifests":{}}`, `{"manifests":[` + strings.Repeat("{},", maxLayers) + "{}]}"} {
		if found, err := ReadReferrers([]byte(wrong)); err == nil {
			t.Errorf("%.30q has %+v", wrong, found)
		}
	}
}

// TestBound reads the annotation of an image's manifest.
func TestBound(t *testing.T) {
	d := digest.FromString("artifact")
	for manifest, want := range map[string]digest.Digest{
		`{"annotations":{"` + annotationArtifact + `":"` + d.String() + `"}}`: d,
		`{"annotations":{"` + annotationArtifact + `":"latest"}}`:             "",
		`{"annotations":{}}`: "",
		`[]`:                 "",
	} {
		if got := Bound([]byte(manifest)); got != want {
			t.Errorf("%s names %q, want %q", manifest, got, want)
		}
	}
}

func FuzzArtifact(f *testing.F) {
	b, err := NewArtifact(ocispec.Descriptor{Digest: digest.FromString("image")}, []digest.Digest{digest.FromString("one")},
		map[digest.Digest]ocispec.Descriptor{digest.FromString("one"): {Digest: digest.FromString("document"), Size: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ReadArtifact(b); err == nil {
			for blob, of := range a.Documents {
				if blob.Validate() != nil || of.Digest.Validate() != nil || of.Size <= 0 || of.Size > MaxDocument {
					t.Errorf("%+v", a)
				}
			}
		}
		for _, of := range []func() (int, error){func() (int, error) {
			found, err := ReadReferrers(b)
			return len(found), err
		}, func() (int, error) {
			return len(Bound(b)), nil
		}} {
			if n, err := of(); err == nil && n > 200 {
				t.Errorf("%d of %q", n, b)
			}
		}
	})
}
