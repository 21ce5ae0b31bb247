package layer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/porttest"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// door is a TCP port that leads to a registry until it is shut.
type door struct {
	t       *testing.T
	address string
	to      string // the registry

	mu struct {
		sync.Mutex
		listener net.Listener
		conns    []net.Conn // since it last changed
	}
}

func newDoor(t *testing.T, to string) *door {
	address, port, err := porttest.Keep()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	d := &door{t: t, address: address, to: to}
	d.serve(d.pass)
	t.Cleanup(d.shut)
	return d
}

// serve opens the door for connections that are handled in this way.
func (d *door) serve(way func(net.Conn)) {
	l, err := net.Listen("tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.listener = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.mu.conns = append(d.mu.conns, c)
			d.mu.Unlock()
			go way(c)
		}
	}()
}

// pass hands a connection on to the registry.
func (d *door) pass(c net.Conn) {
	defer c.Close()
	r, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	go func() {
		io.Copy(r, c) //nolint:errcheck // the other direction ends then, too
		r.Close()
	}()
	io.Copy(c, r) //nolint:errcheck // the client sees it
}

// shut refuses connections from now on, and ends those that there are.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.listener.Close()
	for _, c := range d.mu.conns {
		c.Close()
	}
	d.mu.conns = nil
}

// failing counts requests that came to no answer.
type failing struct {
	http.RoundTripper
	count atomic.Int64
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.RoundTripper.RoundTrip(r)
	if err != nil {
		f.count.Add(1)
	}
	return resp, err
}

// A registry that is away for a while in the middle of a container's life, in
// whatever way, costs no reader its bytes.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]func(net.Conn){
		"connection refused": nil,
		"connection closed":  func(c net.Conn) { c.Close() },
		"no TLS": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") //nolint:errcheck // the client sees it
			c.Close()
		},
		"silence": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, registrytest.Options{TLS: true}, someFiles(25, 3))
			b.stop(t)
			d := newDoor(t, b.Host())
			dir := filepath.Join(t.TempDir(), "registry.example")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{
				"ca.pem":     string(b.CertPEM()),
				"hosts.toml": fmt.Sprintf("server = \"https://%s\"\nca = 'ca.pem'", d.address),
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			count := &failing{}
			hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{
				Dirs: []string{filepath.Dir(dir)},
				Wrap: func(next http.RoundTripper) http.RoundTripper {
					count.RoundTripper = next
					return count
				},
			})
			b.req.Source.Ref = "registry.example/app:1"
			l := b.openQuick(t, hosts, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient})
			d.shut()
			if way != nil {
				d.serve(way)
			}
			read := make(chan error)
			off := extents(t, l)["large"] + 2<<20
			go func() { read <- b.readFar(l, off) }()
			waitFor(t, func() bool { return count.count.Load() > 10 })
			d.shut()
			d.serve(d.pass)
			if err := <-read; err != nil {
				t.Error(err)
			}
		})
	}
}

// A host with an unknown name causes no read error if another host works.
func TestUnknownHost(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(26, 3))
	b.stop(t)
	hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{Mirrors: map[string][]fetch.Mirror{
		b.Host(): {{Host: "registry.invalid"}},
	}})
	b.startWith(t, fetch.New(hosts, steady), layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient}, store.Options{})
	b.checkAll(t, b.open(t))
}
