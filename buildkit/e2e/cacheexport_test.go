package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
)

// staged are Dockerfiles with stages on the lazy images BASE and OTHER.
var staged = map[string]string{
	"other":    "FROM ${BASE} AS tools\nRUN echo tools >/stamp\nFROM ${OTHER}\nCOPY --from=tools /stamp /\nRUN cat /stamp >/final\n",
	"same":     "FROM ${BASE} AS tools\nRUN echo tools >/stamp\nFROM ${BASE}\nCOPY --from=tools /stamp /\nRUN cat /stamp >/final\n",
	"reversed": "FROM ${OTHER} AS tools\nRUN echo tools >/stamp\nFROM ${BASE}\nCOPY --from=tools /stamp /\nRUN cat /stamp >/final\n",
	"linked":   "FROM ${BASE} AS tools\nRUN echo tools >/stamp\nFROM ${OTHER}\nCOPY --link --from=tools /stamp /\nRUN cat /stamp >/final\n",
	"scratch": "FROM ${BASE} AS tools\nRUN echo tools >/stamp\nFROM ${OTHER} AS last\nCOPY --from=tools /stamp /\nRUN cat /stamp >/final\n" +
		"FROM scratch\nCOPY --from=last /final /\n",
}

// The cache of a build on lazy images is exported in full: as many records and
// layers as on overlayfs, and with them nothing runs again.
func TestCacheExportIsWhole(t *testing.T) {
	kinds := []string{onOverlayfs, ladleOnOCI, ladleOnContainerd}
	l := newLab(t, labOptions{kinds: kinds, recipe: smallRecipe})
	other := l.Push("shell", image.EStargz) // no layer of it is in the other image
	for _, c := range []struct{ to, stages string }{
		{"registry", "other"}, {"registry", "same"}, {"registry", "reversed"}, {"registry", "linked"}, {"registry", "scratch"},
		{"local", "linked"}, {"local", "scratch"}, {"inline", "linked"}, {"inline", "scratch"},
	} {
		t.Run(c.to+"/"+c.stages, func(t *testing.T) {
			l := l.as(t)
			var want exported
			var wantRan []string
			for _, kind := range kinds {
				if kind == ladleOnContainerd && c.stages != "scratch" {
					continue
				}
				b := worker.Build{
					// No step is the same as one of another case: keys of a cache stay after a prune.
					Dir: l.project(map[string]string{"Dockerfile": "ARG BASE\nARG OTHER\n" +
						strings.Replace(staged[c.stages], "echo tools", "echo "+c.to+"-"+c.stages, 1)}),
					Args: map[string]string{"BASE": l.base, "OTHER": other},
				}
				got, ran := l.exportCache(kind, c.to, c.to+"-"+c.stages, b)
				if kind == onOverlayfs {
					want, wantRan = got, ran
				} else if got != want || !slices.Equal(ran, wantRan) {
					t.Errorf("%s exports %+v, overlayfs %+v; with that %q run on it, on overlayfs %q", kind, got, want, ran, wantRan)
				}
				if c.to == "registry" && len(ran) > 0 {
					t.Errorf("on %s, %q run again", kind, ran)
				}
			}
			if want.Results == 0 || want.Layers == 0 {
				t.Errorf("overlayfs exports %+v", want)
			}
		})
	}
}

// exported is how much a cache has. A record without a result says only of what
// others are made.
type exported struct{ Records, Results, Layers int }

// exportCache builds on a worker that has nothing, exports its cache, and builds
// with that cache on the same worker, once it has nothing again. It returns which
// steps were not in the cache then: of an inline one, which has the last stage alone,
// some are not on any snapshotter, and the last step of a local one.
func (l lab) exportCache(kind, to, name string, b worker.Build) (got exported, notCached []string) {
	l.Helper()
	ref := fmt.Sprintf("%s/%s:%s", l.Link.Addr(), name, kind)
	dir := filepath.Join(l.TempDir(), "cache")
	from := "type=registry,ref=" + ref
	var read func() []byte
	switch to {
	case "registry":
		b.Flags = []string{"--export-cache", "type=registry,mode=max,ref=" + ref}
		read = func() []byte { return cacheConfig(l, l.manifest(ref), func(d string) []byte { return l.blob(ref, d) }) }
	case "local":
		b.Flags = []string{"--export-cache", "type=local,mode=max,dest=" + dir}
		from = "type=local,src=" + dir
		read = func() []byte {
			blob := func(d string) []byte { return l.file(filepath.Join(dir, "blobs", strings.Replace(d, ":", "/", 1))) }
			return cacheConfig(l, l.file(filepath.Join(dir, "index.json")), blob)
		}
	case "inline":
		b.Flags = []string{"--export-cache", "type=inline"}
		b.Output = "type=image,push=true,store=false,name=" + ref
		read = func() []byte { return l.inlineCache(ref) }
	}
	l.prune(kind)
	var first exported
	for again := range 2 { // the second time all is in the cache
		if _, err := l.workers[kind].Build(l.Context(), b); err != nil {
			l.Fatal(err)
		}
		text := read()
		l.Logf("%s exports %s", kind, text)
		if got = l.counted(text); again == 1 && got != first {
			l.Errorf("%s exports %+v, and %+v when nothing has to run", kind, first, got)
		}
		first = got
	}
	l.prune(kind)
	b.Flags, b.Output = []string{"--import-cache", from}, ""
	ran, err := l.workers[kind].Steps(l.Context(), b)
	if err != nil {
		l.Fatal(err)
	}
	for _, s := range ran {
		if isStep(s.Name) {
			notCached = append(notCached, s.Name)
		}
	}
	l.prune(kind)
	slices.Sort(notCached)
	return got, notCached
}

// counted is how much a cache has, by its description.
func (l lab) counted(text []byte) (e exported) {
	l.Helper()
	var config struct {
		Layers  []json.RawMessage
		Records []struct{ Layers, Chains []json.RawMessage }
	}
	if err := json.Unmarshal(text, &config); err != nil {
		l.Fatal(err)
	}
	e.Records, e.Layers = len(config.Records), len(config.Layers)
	for _, r := range config.Records {
		if len(r.Layers)+len(r.Chains) > 0 {
			e.Results++
		}
	}
	return e
}

// isStep reports whether a step is one of a Dockerfile that makes something.
func isStep(name string) bool {
	return strings.Contains(name, "RUN ") || strings.Contains(name, "COPY ")
}

// cacheConfig finds the description of a cache (BuildKit, cache/remotecache/v1)
// below an OCI index or manifest.
func cacheConfig(l lab, text []byte, blob func(digest string) []byte) []byte {
	l.Helper()
	type descriptor struct{ MediaType, Digest string }
	var m struct {
		Config    descriptor
		Manifests []descriptor
	}
	if err := json.Unmarshal(text, &m); err != nil {
		l.Fatal(err)
	}
	for _, d := range append(m.Manifests, m.Config) {
		switch {
		case d.MediaType == "application/vnd.buildkit.cacheconfig.v0":
			return blob(d.Digest)
		case strings.Contains(d.MediaType, "index") || strings.Contains(d.MediaType, "manifest"):
			return cacheConfig(l, blob(d.Digest), blob)
		}
	}
	l.Fatalf("there is no cache in %s", text)
	return nil
}

// inlineCache is the description of the cache in an image's configuration: its
// layers are those of the image.
func (l lab) inlineCache(ref string) []byte {
	l.Helper()
	config, err := l.image(ref).RawConfigFile()
	if err != nil {
		l.Fatal(err)
	}
	var inline struct {
		Cache string `json:"moby.buildkit.cache.v0"`
	}
	if err := json.Unmarshal(config, &inline); err != nil {
		l.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(inline.Cache)
	if err != nil || len(text) == 0 {
		l.Fatalf("no inline cache in %s: %v", config, err)
	}
	layers, err := json.Marshal(l.manifestOf(ref).Layers)
	if err != nil {
		l.Fatal(err)
	}
	return []byte(`{"records":` + string(text) + `,"layers":` + string(layers) + `}`)
}

func (l lab) file(name string) []byte {
	l.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		l.Fatal(err)
	}
	return text
}

// The cache outlives the daemon: what is built on lazy images does not run again
// when buildkitd was restarted, and can be exported then.
func TestCacheOutlivesRestart(t *testing.T) {
	kinds := []string{onOverlayfs, ladleOnOCI, ladleOnContainerd}
	l := newLab(t, labOptions{kinds: kinds, recipe: smallRecipe})
	other := l.Push("shell", image.EStargz)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := l.as(t)
			b := worker.Build{
				Dir:  l.project(map[string]string{"Dockerfile": "ARG BASE\nARG OTHER\n" + staged["scratch"]}),
				Args: map[string]string{"BASE": l.base, "OTHER": other},
			}
			w := l.workers[kind]
			if _, err := w.Build(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			records, err := w.Records(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			l.restart(w.Start)
			if got, err := w.Records(t.Context()); err != nil || got != records {
				t.Errorf("%d records of %d are there after a restart: %v", got, records, err)
			}
			ran, err := w.Steps(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range ran {
				if isStep(s.Name) {
					t.Errorf("%s ran again", s.Name)
				}
			}
			// All of the base is needed for an archive: it is read from the registry.
			b.Dir = l.project(map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE} AS tools\nRUN echo tools >/stamp\n"})
			b.Output = "type=oci,dest=" + filepath.Join(t.TempDir(), "image.tar")
			ran, err = w.Steps(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range ran {
				if isStep(s.Name) {
					t.Errorf("%s ran again", s.Name)
				}
			}
		})
	}
}
