package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
)

// answer is what a registry, its storage or its token server may answer while a
// container runs.
type answer struct {
	name  string
	kind  registrytest.Kind // the kind of server with this answer
	fault registrytest.Fault
	fine  bool // the right bytes come of it
}

// answers returns every answer that is known to have been seen, or that the
// protocols allow; the short tests have one status for each way in which statuses are
// handled.
func answers() (all []answer) {
	statuses := []int{304, 400, 401, 402, 403, 404, 405, 408, 410, 416, 418, 425, 429, 451, 500, 501, 502, 503, 504, 507}
	if testing.Short() {
		statuses = []int{304, 401, 403, 404, 416, 429, 503}
	}
	for _, kind := range []registrytest.Kind{registrytest.Blob, registrytest.Storage, registrytest.Token} {
		for _, status := range statuses {
			all = append(all, answer{fmt.Sprint(status), kind, registrytest.Fault{Status: status}, false})
		}
		for name, f := range map[string]registrytest.Fault{
			"429 with Retry-After": {Status: 429, RetryAfter: "1"},
			"503 with Retry-After": {Status: 503, RetryAfter: "1"},
			"307 to nowhere":       {Status: 307},
			"307 to no address":    {Status: 307, Header: "Location: http://[::1"},
			"302 to no web server": {Status: 302, Header: "Location: ftp://127.0.0.1/x"},
			"302 to a closed port": {Status: 302, Header: "Location: http://127.0.0.1:1/x"},
			"301 to itself":        {Status: 301, Header: "Location: ?again"},
			"closed at once":       {Close: registrytest.After(-1)},
			"no answer":            {Stall: registrytest.After(-1)},
		} {
			all = append(all, answer{name, kind, f, false})
		}
	}
	for name, f := range map[string]registrytest.Fault{
		"closed after headers":         {Close: registrytest.After(0)},
		"stalled after headers":        {Stall: registrytest.After(0)},
		"closed in the body":           {Close: registrytest.After(100)},
		"stalled in the body":          {Stall: registrytest.After(100)},
		"body cut":                     {Truncate: registrytest.After(100)},
		"body empty":                   {Truncate: registrytest.After(0)},
		"body cut, chunked":            {Truncate: registrytest.After(100), NoLength: true},
		"another range":                {ContentRange: "bytes 0-9/5000000"},
		"206 without Content-Range":    {ContentRange: "-"},
		"several ranges":               {ContentRange: "-", Header: "Content-Type: multipart/byteranges; boundary=x"},
		"size too small":               {ContentRange: "bytes 2000000-2999999/2000001"},
		"wrong bits":                   {Corrupt: true},
		"compressed by a proxy":        {Gzip: true},
		"compressed, length not known": {Gzip: true, NoLength: true},
	} {
		all = append(all, answer{name, registrytest.Blob, f, false}, answer{name, registrytest.Storage, f, false})
	}
	for name, f := range map[string]registrytest.Fault{
		"range ignored":              {Status: http.StatusOK},
		"range ignored, no length":   {Status: http.StatusOK, NoLength: true},
		"no length":                  {NoLength: true},
		"Content-Encoding in name":   {Header: "Content-Encoding: gzip"},
		"slow":                       {Slow: 4 << 20},
		"closed again and again":     {Close: registrytest.After(400_000)},
		"delayed within the timeout": {Delay: 50 * time.Millisecond},
	} {
		all = append(all, answer{name, registrytest.Blob, f, true}, answer{name, registrytest.Storage, f, true})
	}
	return all
}

// patient is the read timeout of tests that never meet it.
const patient = 2 * time.Minute

// options of a registry that gives such answers.
func (a answer) options() registrytest.Options {
	return registrytest.Options{Token: a.kind == registrytest.Token, Redirect: a.kind == registrytest.Storage}
}

// converted is an image's layer that all tests of answers read.
type converted struct {
	files []file
	blob  []byte
	toc   digest.Digest
}

func newConverted(t *testing.T) (c converted) {
	c.files = someFiles(20, 10)
	c.blob, c.toc = convert(t, c.files)
	return c
}

// opened returns a bench with an open layer that has the given read timeout, and the
// offset of an absent range that is too far from the blob's start to be reached by
// skipping.
func (a answer) opened(t *testing.T, c converted, timeout time.Duration) (b *bench, l *layer.Layer, off int64) {
	b = benchOf(t, a.options(), c.files, c.blob, c.toc)
	l = b.openQuick(t, nil, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: timeout})
	if a.kind == registrytest.Token {
		b.Expire()
	}
	b.Reset()
	return b, l, extents(t, l)["large"] + 2<<20
}

// readFar reads what is to be read at off.
func (b *bench) readFar(l *layer.Layer, off int64) error {
	p := make([]byte, 8192)
	if _, err := l.ReadAt(context.Background(), p, off); err != nil {
		return err
	}
	if large := b.files[len(b.files)-1].data; !bytes.Equal(p, large[2<<20:][:len(p)]) {
		return errors.New("wrong bytes were read")
	}
	return nil
}

// An answer that a registry gives in the middle of a container's life, once or a
// few times, costs no reader its bytes.
func TestAnswerOnce(t *testing.T) {
	t.Parallel()
	c := newConverted(t)
	for _, times := range []int{1, 5} {
		for _, a := range answers() {
			if times > 1 && (a.fault.Stall != nil || a.fault.RetryAfter != "") {
				continue // that takes seconds
			}
			t.Run(fmt.Sprintf("%s of %s, %d times", a.name, a.kind, times), func(t *testing.T) {
				t.Parallel()
				b, l, off := a.opened(t, c, patient)
				b.SetFault(registrytest.First(times, a.kind, a.fault))
				if err := b.readFar(l, off); err != nil {
					t.Error(err)
				}
				if b.Count(a.kind) == 0 {
					t.Error("it was not asked")
				}
			})
		}
	}
}

// An answer that a registry goes on to give ends in an error when the reader's
// time is over and not before, and the error says what the answer was; when the
// registry gives another one, the next read succeeds.
func TestAnswerForever(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // several times that of a request, quick.Timeout
	c := newConverted(t)
	for _, a := range answers() {
		if a.kind != registrytest.Blob && a.fault.Status%100 > 4 {
			continue // as those from the registry itself
		}
		t.Run(a.name+" of "+string(a.kind), func(t *testing.T) {
			t.Parallel()
			b, l, off := a.opened(t, c, timeout)
			b.SetFault(registrytest.Always(a.kind, a.fault))
			began := time.Now()
			err := b.readFar(l, off)
			if a.fine {
				if err != nil && !errors.Is(err, layer.ErrTimeout) { // on a busy machine
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, layer.ErrTimeout) || time.Since(began) < timeout {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			var e *fetch.Error
			if errors.As(err, &e); e == nil && !a.fault.Corrupt && !a.fault.Gzip {
				t.Errorf("no word of the answer: %v", err)
			}
			b.SetFault(nil)
			eventually(t, func() error { return b.readFar(l, off) })
		})
	}
}

// An answer that one of two hosts goes on to give costs no reader its bytes, nor
// is that host asked for ever before the other.
func TestAnswerOfOneOfTwo(t *testing.T) {
	t.Parallel()
	c := newConverted(t)
	for _, a := range answers() {
		t.Run(a.name+" of "+string(a.kind), func(t *testing.T) {
			t.Parallel()
			b := benchOf(t, registrytest.Options{}, c.files, c.blob, c.toc)
			mirror := registrytest.New(t, a.options())
			mirror.AddBlob(b.blob)
			hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{Mirrors: map[string][]fetch.Mirror{
				b.Host(): {{Host: mirror.Host(), Insecure: true}},
			}})
			l := b.openQuick(t, hosts, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient})
			mirror.Expire()
			mirror.SetFault(registrytest.Always(a.kind, a.fault))
			if err := b.readFar(l, extents(t, l)["large"]+2<<20); err != nil {
				t.Error(err)
			}
			if mirror.Count() == 0 {
				t.Error("the mirror was not asked")
			}
		})
	}
}
