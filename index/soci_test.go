package index

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/internal/ztoctest"
)

// TestSOCIArtifact reads SOCI's indexes of both versions.
func TestSOCIArtifact(t *testing.T) {
	ztoc := ocispec.Descriptor{Digest: digest.FromString("ztoc"), Size: 100}
	blob, image := digest.FromString("blob"), digest.FromString("image")
	for version, subject := range map[string]*ocispec.Descriptor{"v1": {Digest: image}, "v2": nil} {
		m, err := ztoctest.Index(version, subject, ztoc, blob)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ReadArtifact(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Documents[blob]; len(a.Documents) != 1 || got.Digest != ztoc.Digest || got.Size != ztoc.Size {
			t.Errorf("%s: documents %v", version, a.Documents)
		}
		if subject != nil && a.Subject != image || subject == nil && a.Subject != "" {
			t.Errorf("%s: subject %q", version, a.Subject)
		}
	}
	if m, _ := ztoctest.Index("v3", nil, ztoc, blob); m != nil {
		if _, err := ReadArtifact(m); err == nil {
			t.Error("a later version: no error")
		}
	}
}

// TestSOCIBound: what is Ladle's own goes before what is SOCI's.
func TestSOCIBound(t *testing.T) {
	own, soci := digest.FromString("own"), digest.FromString("SOCI's")
	for manifest, want := range map[string]digest.Digest{
		`{}`: "",
		`{"annotations":{"com.amazon.soci.index-digest":"` + soci.String() + `"}}`:                                                             soci,
		`{"annotations":{"com.amazon.soci.index-digest":"` + soci.String() + `","io.github.ladle-dev.index.manifest":"` + own.String() + `"}}`: own,
		`{"annotations":{"com.amazon.soci.index-digest":"` + soci.String() + `","io.github.ladle-dev.index.manifest":"sha256:1"}}`:             soci,
		`{"annotations":{"com.amazon.soci.index-digest":"sha256:1"}}`:                                                                          "",
	} {
		if got := Bound([]byte(manifest)); got != want {
			t.Errorf("%s: %q", manifest, got)
		}
	}
	annotations := map[string]string{sociBound: soci.String(), annotationArtifact: own.String(), "other": ""}
	if Unbind(annotations); len(annotations) != 1 {
		t.Errorf("what is left are %v", annotations)
	}
	list := `{"manifests":[{"digest":"` + own.String() + `","artifactType":"` + ArtifactType + `"},{"digest":"` + soci.String() + `","artifactType":"` + sociV1 + `"},{"digest":"` + soci.String() + `","artifactType":"` + sociV2 + `"}]}`
	found, err := ReadReferrers([]byte(list))
	if err != nil || len(found) != 2 || found[0].Digest != soci || found[1].Digest != own {
		t.Errorf("%v, %v", found, err)
	}
}
