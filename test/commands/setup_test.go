package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// lab is a registry with a proxy before it, by which ladle reaches it, and a directory for
// temporary files.
type lab struct {
	*testing.T
	registry *stack.Registry
	proxy    *proxy
	tmp      string
	env      []string // more of the environment of ladle
}

func newLab(t *testing.T) *lab {
	t.Helper()
	r, err := stack.StartRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{T: t, registry: r, tmp: t.TempDir()}
	l.proxy = newProxy(t, r.Addr)
	return l
}

// push puts a recipe's image in the registry.
func (l *lab) push(recipe string, f image.Format) (ref string) {
	l.Helper()
	cache, err := image.DefaultCache()
	if err != nil {
		l.Fatal(err)
	}
	cache.Log = l.Logf
	img, err := cache.Image(l.Context(), recipe, f)
	if err != nil {
		l.Fatal(err)
	}
	name, err := l.registry.Push(l.Context(), img)
	if err != nil {
		l.Fatal(err)
	}
	return l.ref(name)
}

// ref is a reference in the registry, by way of the proxy.
func (l *lab) ref(name string) string { return l.proxy.addr + "/" + name }

// ladle returns a command that runs ladle.
func (l *lab) ladle(args ...string) *exec.Cmd {
	l.Helper()
	binary, err := place.Ladle()
	if err != nil {
		l.Fatal(err)
	}
	cmd := exec.CommandContext(l.Context(), binary, args...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+l.tmp), l.env...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	return cmd
}

// outcome is how a command ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs ladle to its end. Nothing of it remains in the directory for temporary files.
func (l *lab) run(args ...string) outcome {
	l.Helper()
	cmd := l.ladle(args...)
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	return l.wait(cmd)
}

func (l *lab) wait(cmd *exec.Cmd) outcome {
	l.Helper()
	var o outcome
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.Fatal(err)
	}
	o.code = cmd.ProcessState.ExitCode()
	o.stdout, o.stderr = cmd.Stdout.(*bytes.Buffer).String(), cmd.Stderr.(*bytes.Buffer).String()
	left, err := os.ReadDir(l.tmp)
	if err != nil {
		l.Fatal(err)
	}
	if len(left) > 0 {
		l.Errorf("%v has left %v", cmd.Args, left)
	}
	return o
}

// must runs ladle, which must succeed, and decodes the JSON that it prints.
func (l *lab) must(result any, args ...string) {
	l.Helper()
	o := l.run(args...)
	if o.code != 0 {
		l.Fatalf("ladle %s: exit code %d: %s", strings.Join(args, " "), o.code, o.stderr)
	}
	if err := json.Unmarshal([]byte(o.stdout), result); err != nil {
		l.Fatalf("ladle %s printed %q: %v", strings.Join(args, " "), o.stdout, err)
	}
}

// has reports whether the registry has a tag, under which there may be anything.
func (l *lab) has(name string) bool {
	l.Helper()
	repository, tag, _ := strings.Cut(name, ":")
	resp, err := http.Get("http://" + l.registry.Addr + "/v2/" + repository + "/manifests/" + tag)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK, http.StatusNotFound); err != nil {
		l.Fatal(err)
	}
	return resp.StatusCode == http.StatusOK
}

// result is what ladle convert --json prints.
type result struct {
	Digest string
	Images []struct {
		Platform, Digest string
		Layers           []struct{ Action, Source, Digest, DiffID string }
	}
}

// report is what ladle inspect --json prints.
type report struct {
	Digest string
	Images []struct {
		Platform string
		Layers   []struct {
			Format, Reason, Digest string
			Lazy                   bool
			Size, BeforeRun        int64
			Index                  *struct {
				Source string
				Size   int64
			}
		}
	}
}

// proxy is a proxy of a registry. A test decides what happens to each request.
type proxy struct {
	addr string
	mu   struct {
		sync.Mutex
		log   []string // methods and paths with query
		fault func(w http.ResponseWriter, r *http.Request) (answered bool)
	}
}

func newProxy(t *testing.T, registry string) *proxy {
	t.Helper()
	p := &proxy{}
	next := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: registry})
			r.Out.Host = r.In.Host // the registry says it in addresses for uploads
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p.addr = listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.mu.log = append(p.mu.log, r.Method+" "+r.URL.String())
		fault := p.mu.fault
		p.mu.Unlock()
		if fault == nil || !fault(w, r) {
			next.ServeHTTP(w, r)
		}
	}))
	return p
}

// setFault makes f see each request first. It is called concurrently.
func (p *proxy) setFault(f func(w http.ResponseWriter, r *http.Request) (answered bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.fault, p.mu.log = f, nil
}

// count counts the requests that were logged and for which is returns true.
func (p *proxy) count(is func(request string) bool) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.mu.log {
		if is(r) {
			n++
		}
	}
	return n
}

// waitFor waits for a minute at most.
func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !there(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
