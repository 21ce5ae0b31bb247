package commands

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/image"
)

func listen(t *testing.T, h http.Handler) (addr string) {
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// isUpload reports whether a request brings the bytes of a blob.
func isUpload(request string) bool {
	return strings.HasPrefix(request, "PUT ") && strings.Contains(request, "/blobs/uploads/")
}

// In one registry, what has the format is mounted from the other repository; between
// registries and layouts it is copied. The digests are the same everywhere.
func TestConvertBetweenPlaces(t *testing.T) {
	l := newLab(t)
	from := l.push("twice", image.Gzip)
	layout := "oci:" + filepath.Join(t.TempDir(), "layout") + ":1"
	for _, format := range []string{"estargz", "zstd:chunked"} {
		name := strings.ReplaceAll(format, ":", "-")
		var first, mounted, out, back result
		l.must(&first, "convert", "--json", "--format", format, from, l.ref("made:"+name))
		for _, of := range first.Images[0].Layers {
			if of.Action != "converted" || of.Digest == of.Source {
				t.Errorf("%s: a layer is %+v", format, of)
			}
		}
		l.proxy.setFault(nil)
		l.must(&mounted, "convert", "--json", "--format", format, l.ref("made:"+name), l.ref("elsewhere/mounted:"+name))
		if mounted.Digest != first.Digest {
			t.Errorf("%s: the copy has digest %s, and not %s", format, mounted.Digest, first.Digest)
		}
		mounts := l.proxy.count(func(r string) bool { return strings.HasPrefix(r, "POST ") && strings.Contains(r, "from=made") })
		uploads := l.proxy.count(isUpload)
		blobs := map[string]bool{}
		for _, of := range mounted.Images[0].Layers {
			blobs[of.Digest] = true
		}
		if mounts != len(blobs) || uploads > 1 { // one is the configuration
			t.Errorf("%s: %d mounts and %d uploads for %d blobs", format, mounts, uploads, len(blobs))
		}
		l.must(&out, "convert", "--json", "--format", format, from, layout)
		l.must(&back, "convert", "--json", "--format", format, layout, l.ref("back:"+name))
		if out.Digest != first.Digest || back.Digest != first.Digest {
			t.Errorf("%s: the layout has %s, made from it was %s, want %s", format, out.Digest, back.Digest, first.Digest)
		}
		var r report
		l.must(&r, "inspect", "--json", l.ref("back:"+name))
		for n, of := range r.Images[0].Layers {
			if !of.Lazy || of.Format != format || of.Digest != first.Images[0].Layers[n].Digest {
				t.Errorf("%s: layer %d is %+v", format, n, of)
			}
		}
	}
}

// Progress is lines on standard error when it is no terminal; nothing with --quiet.
func TestProgress(t *testing.T) {
	l := newLab(t)
	from := l.push("twice", image.Gzip)
	loud := l.run("convert", from, l.ref("made:loud"))
	if loud.code != 0 || !strings.HasPrefix(loud.stderr, "[1/") || strings.Contains(loud.stderr, "\x1b") {
		t.Errorf("it ended with %+v", loud)
	}
	quiet := l.run("convert", "--quiet", from, l.ref("made:quiet"))
	if quiet.code != 0 || quiet.stderr != "" || !strings.Contains(quiet.stdout, "sha256:") {
		t.Errorf("it ended with %+v", quiet)
	}
}

// An upload that fails for a while is repeated. One that always fails is an error that says
// which blob, where and why, and there is no tag.
func TestRegistryThatFails(t *testing.T) {
	l := newLab(t)
	from := l.push("twice", image.Gzip)
	var failures atomic.Int32
	fail := func(n int32, status int) func(http.ResponseWriter, *http.Request) bool {
		failures.Store(0)
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !isUpload(r.Method+" "+r.URL.String()) || failures.Add(1) > n {
				return false
			}
			w.WriteHeader(status)
			return true
		}
	}
	l.proxy.setFault(fail(2, http.StatusServiceUnavailable))
	if o := l.run("convert", from, l.ref("made:later")); o.code != 0 || failures.Load() < 3 {
		t.Errorf("after %d uploads it ended with %+v", failures.Load(), o)
	}
	for tag, status := range map[string]int{"away": http.StatusServiceUnavailable, "denied": http.StatusForbidden} {
		l.proxy.setFault(fail(1<<20, status))
		o := l.run("convert", from, l.ref("new/made:"+tag))
		if o.code != 1 || !strings.Contains(o.stderr, http.StatusText(status)) || !strings.Contains(o.stderr, "push sha256:") ||
			!strings.Contains(o.stderr, l.ref("new/made")) {
			t.Errorf("with status %d it ended with %+v", status, o)
		}
		if l.has("new/made:" + tag) {
			t.Error("there is a tag")
		}
	}
	// Everything but the tag: the name comes last.
	l.proxy.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/last") {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	if o := l.run("convert", from, l.ref("made:last")); o.code != 1 || l.has("made:last") {
		t.Errorf("it ended with %+v", o)
	}
	l.proxy.setFault(nil)
	if o := l.run("convert", "127.0.0.1:1/not/there:1", l.ref("made:never")); o.code != 1 || !strings.Contains(o.stderr, "refused") {
		t.Errorf("without a registry it ended with %+v", o)
	}
	if o := l.run("convert", l.ref("not/there:1"), l.ref("made:never")); o.code != 1 || !strings.Contains(o.stderr, "not found") {
		t.Errorf("without an image it ended with %+v", o)
	}
}

// An interruption leaves neither a tag nor temporary files.
func TestInterruption(t *testing.T) {
	l := newLab(t)
	from := l.push("twice", image.Gzip)
	layout := filepath.Join(t.TempDir(), "layout")
	for name, at := range map[string]func(r *http.Request) bool{
		"fetching": func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.HasPrefix(r.Header.Get("Range"), "bytes=0-")
		},
		"writing": func(r *http.Request) bool { return isUpload(r.Method + " " + r.URL.String()) },
		"naming": func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/made-naming/manifests/1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lab{t, l.registry, l.proxy, l.tmp, nil}
			var held atomic.Bool
			l.proxy.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
				if !at(r) {
					return false
				}
				held.Store(true)
				_, _ = io.Copy(io.Discard, r.Body) // only then is it found that the client has gone
				<-r.Context().Done()
				return true
			})
			// In a repository that has no blobs of another case, which would not be
			// uploaded again.
			made := "made-" + name + ":1"
			destinations := []string{l.ref(made)}
			if name == "fetching" {
				destinations = append(destinations, "oci:"+layout+":1")
			}
			for _, to := range destinations {
				held.Store(false)
				cmd := l.ladle("convert", from, to)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "a request to hold", held.Load)
				if err := cmd.Process.Signal(unix.SIGINT); err != nil {
					t.Fatal(err)
				}
				if o := l.wait(cmd); o.code != 1 || !strings.Contains(o.stderr, "interrupted") {
					t.Errorf("it ended with %+v", o)
				}
			}
			l.proxy.setFault(nil)
			if l.has(made) {
				t.Error("there is a tag")
			}
			if b, err := os.ReadFile(filepath.Join(layout, "index.json")); err == nil {
				t.Errorf("the layout has an index: %s", b)
			}
		})
	}
}

// Every image of the recipes that test ladle can be converted, and is lazy then; but for the
// one that no index may describe.
func TestConvertHostileImages(t *testing.T) {
	l := newLab(t)
	for _, recipe := range []string{"hostile-names", "hostile-nodes", "hostile-whiteouts", "hostile-escape", "hostile-through-link",
		"hostile-parents", "hostile-marks", "hostile-deep"} {
		from := l.push(recipe, image.Gzip)
		for _, format := range []string{"estargz", "zstd:chunked"} {
			if recipe == "hostile-deep" && format == "estargz" {
				continue // 64 layers, of which the other format has as many
			}
			to := l.ref(recipe + ":made-" + strings.ReplaceAll(format, ":", "-"))
			var made result
			l.must(&made, "convert", "--json", "--format", format, from, to)
			var r report
			l.must(&r, "inspect", "--json", to)
			for n, of := range r.Images[0].Layers {
				throughLink := recipe == "hostile-through-link" && strings.Contains(of.Reason, "invalid index")
				if !of.Lazy && !throughLink {
					t.Errorf("%s as %s: layer %d is not lazy: %s", recipe, format, n, of.Reason)
				}
			}
		}
	}
}
