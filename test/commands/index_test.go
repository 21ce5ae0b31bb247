package commands

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
)

// indexing is what ladle index --json prints.
type indexing struct {
	Images []struct {
		Platform, Digest, Artifact string
		Layers                     []struct {
			Action, Reason, Digest, Index string
			Size, IndexSize               int64
		}
	}
}

// attaches writes a configuration under which attached indexes are used.
func (l *lab) attaches() (path string) {
	l.Helper()
	path = filepath.Join(l.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("[index]\ntrust = \"attached\"\n"), 0o600); err != nil {
		l.Fatal(err)
	}
	return path
}

// wantLazy inspects an image whose layers have attached indexes, as made says, under both
// settings.
func (l *lab) wantLazy(ref string, made indexing) {
	l.Helper()
	var r report
	l.must(&r, "inspect", "--json", "--config", l.attaches(), ref)
	lazy := 0
	for n, of := range r.Images[0].Layers {
		has := made.Images[0].Layers[n].Action == "indexed"
		if of.Lazy != has || has && (of.Index == nil || of.Index.Source != "attached" || of.BeforeRun != of.Index.Size) {
			l.Errorf("layer %d of %s is %+v", n, ref, of)
		}
		if has {
			lazy++
		}
	}
	if lazy == 0 {
		l.Errorf("no layer of %s is lazy", ref)
	}
	r = report{}
	l.must(&r, "inspect", "--json", ref)
	for n, of := range r.Images[0].Layers {
		has := made.Images[0].Layers[n].Action == "indexed"
		if of.Lazy || has != strings.Contains(of.Reason, "not used: index.trust") || has != (of.Index != nil) {
			l.Errorf("layer %d of %s is %+v", n, ref, of)
		}
	}
}

// In a registry without the referrers API, of which a tag has to take the place; again; by the
// digest of the image; and in a layout. The image does not change.
func TestIndex(t *testing.T) {
	l := newLab(t)
	ref := l.push("twice", image.Gzip)
	var before report
	l.must(&before, "inspect", "--json", ref)
	var first, again, layout indexing
	l.must(&first, "index", "--json", ref)
	if of := first.Images[0]; of.Artifact == "" || of.Digest != before.Digest {
		t.Fatalf("it made %+v", first)
	}
	_, name, _ := strings.Cut(ref, "/")
	repository, _, _ := strings.Cut(name, ":")
	tag := repository + ":" + strings.Replace(first.Images[0].Digest, ":", "-", 1)
	if !l.has(tag) {
		t.Errorf("there is no tag %s", tag)
	}
	for n, of := range first.Images[0].Layers {
		tiny := of.Action == "left" && of.Size < 1000 && of.Reason == "it is smaller than its index"
		if !tiny && (of.Action != "indexed" || of.IndexSize <= 0) {
			t.Errorf("layer %d is %+v", n, of)
		}
	}
	l.wantLazy(ref, first)
	l.proxy.setFault(nil)
	byDigest := ref[:strings.LastIndex(ref, ":")] + "@" + before.Digest
	l.must(&again, "index", "--json", byDigest)
	puts := l.proxy.count(func(r string) bool { return strings.HasPrefix(r, "PUT ") })
	if fmt.Sprint(again) != fmt.Sprint(first) || puts > 0 {
		t.Errorf("again: %+v with %d uploads, want %+v", again, puts, first)
	}
	l.wantLazy(byDigest, first)

	dir := filepath.Join(t.TempDir(), "layout")
	if o := l.run("convert", "-q", "--format", "zstd:chunked", ref, "oci:"+dir+":lazy"); o.code != 0 {
		t.Fatal(o)
	}
	l.must(&layout, "index", "--json", "oci:"+dir)
	for n, of := range layout.Images[0].Layers {
		if of.Action != "lazy" || layout.Images[0].Artifact != "" {
			t.Errorf("layer %d of the layout is %+v", n, of)
		}
	}
	o := l.run("index", ref)
	if o.code != 0 || !strings.Contains(o.stdout, first.Images[0].Artifact) || !strings.HasPrefix(o.stderr, "[1/") {
		t.Errorf("it ended with %+v", o)
	}
}

// A registry with the referrers API gets no tag.
func TestIndexWithReferrersAPI(t *testing.T) {
	l := newLab(t)
	ref := l.push("twice", image.Gzip)
	var artifacts []string
	l.proxy.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		name := filepath.Base(r.URL.Path)
		switch {
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/"):
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return false
			}
			r.Body = io.NopCloser(strings.NewReader(string(b)))
			artifacts = append(artifacts, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"artifactType":"application/vnd.ladle.index.v1+json","digest":%q,"size":%d}`, name, len(b)))
		case strings.Contains(r.URL.Path, "/referrers/"):
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[%s]}`, strings.Join(artifacts, ","))
			return true
		}
		return false
	})
	var made indexing
	l.must(&made, "index", "--json", ref)
	tags := l.proxy.count(func(r string) bool { return strings.HasPrefix(r, "PUT ") && strings.Contains(r, "/manifests/sha256-") })
	if len(artifacts) != 1 || tags > 0 || !json.Valid([]byte(artifacts[0])) || !strings.Contains(artifacts[0], made.Images[0].Artifact) {
		t.Errorf("it made %+v, the registry has %q and %d tags", made, artifacts, tags)
	}
	l.wantLazy(ref, made)
}

// What is wrong with the command line, the image or the registry is said, and nothing is
// attached.
func TestIndexFails(t *testing.T) {
	l := newLab(t)
	ref := l.push("twice", image.Gzip)
	for args, want := range map[string]outcome{
		"index":                                 {2, "", "REF is missing"},
		"index a b":                             {2, "", `unexpected "b"`},
		"index --platform x/y/z/w " + ref:       {2, "", "--platform"},
		"index --format zstd " + ref:            {2, "", "format"},
		"index " + l.ref("not/there:1"):         {1, "", "not found"},
		"index oci:" + l.tmp + "/away:1":        {1, "", "no such file"},
		"index --platform linux/ppc64le " + ref: {1, "", "the image is for"},
	} {
		if o := l.run(strings.Fields(args)...); o.code != want.code || !strings.Contains(o.stderr, want.stderr) || o.stdout != "" {
			t.Errorf("%q ended with %+v", args, o)
		}
	}
	for n, refuse := range []func(r *http.Request) bool{ // in the order in which it is put
		func(r *http.Request) bool { return isUpload(r.Method + " " + r.URL.String()) },
		func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-")
		},
	} {
		name := []string{"document", "list"}[n]
		l.proxy.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if refuse(r) {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		})
		if o := l.run("index", ref); o.code != 1 || !strings.Contains(o.stderr, http.StatusText(http.StatusForbidden)) {
			t.Errorf("without the %s it ended with %+v", name, o)
		}
		l.proxy.setFault(nil)
		var r report
		l.must(&r, "inspect", "--json", ref)
		for n, of := range r.Images[0].Layers {
			if of.Index != nil {
				t.Errorf("without the %s layer %d is %+v", name, n, of)
			}
		}
	}
}
