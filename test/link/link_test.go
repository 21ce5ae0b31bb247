package link

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// start runs a server and a link to it.
func start(t testing.TB, p Profile, h http.Handler) (*Link, string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	l, err := Listen(strings.TrimPrefix(server.URL, "http://"), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, "http://" + l.Addr()
}

func client(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestBytesArriveWholeAndInOrder(t *testing.T) {
	for _, p := range []Profile{{}, {RTT: 3 * time.Millisecond}, {RTT: time.Millisecond, Bandwidth: 500e6}} {
		t.Run(p.String(), func(t *testing.T) {
			echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
			l, url := start(t, p, echo)
			c := client(t)
			var all sync.WaitGroup
			const n, size = 6, 1 << 20
			for range n {
				all.Go(func() {
					data := make([]byte, size)
					rand.Read(data)
					r, err := c.Post(url, "", bytes.NewReader(data))
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Body.Close()
					got, err := io.ReadAll(r.Body)
					if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
						t.Errorf("got %d other bytes, %v", len(got), err)
					}
				})
			}
			all.Wait()
			k := l.Counters()
			if k.Requests != n || k.Connections == 0 || k.Connections > n {
				t.Errorf("counted %+v", k)
			}
			if k.BytesDown < n*size || k.BytesUp < n*size {
				t.Errorf("counted %+v, want at least %d bytes each way", k, n*size)
			}
		})
	}
}

func TestRequestsAreCountedAndLogged(t *testing.T) {
	files := http.FileServer(http.Dir("."))
	l, url := start(t, Profile{}, files)
	c := client(t)
	get := func(rng string) {
		r, _ := http.NewRequest("GET", url+"/link.go", nil)
		r.Header.Set("Range", rng)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
	}
	get("bytes=0-9")
	l.Reset()
	get("bytes=10-29")
	get("bytes=5-5")
	if k := l.Counters(); k.Requests != 2 || k.Connections != 0 {
		t.Errorf("counted %+v, want 2 requests on the old connection", k)
	}
	waitFor(t, func() bool { return l.Requests()[1].Status != 0 })
	for i, want := range []Request{{Range: "bytes=10-29", Bytes: 20}, {Range: "bytes=5-5", Bytes: 1}} {
		got := l.Requests()[i]
		if got.Method != "GET" || got.Path != "/link.go" || got.Range != want.Range || got.Bytes != want.Bytes || got.Status != 206 {
			t.Errorf("logged %+v, want %+v", got, want)
		}
	}
}

// The server answers no request before all of them are there, so this ends only
// if the link carries them at the same time.
func TestParallelRequestsOverlap(t *testing.T) {
	const n = 20
	var there sync.WaitGroup
	there.Add(n)
	l, url := start(t, Profile{RTT: 20 * time.Millisecond, Bandwidth: 1e9}, http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			there.Done()
			there.Wait()
			io.WriteString(w, "answer")
		}))
	c := client(t)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			r, err := c.Get(url)
			if err != nil {
				t.Error(err)
				return
			}
			r.Body.Close()
		})
	}
	all.Wait()
	if k := l.Counters(); k.MaxInFlight != n {
		t.Errorf("%d requests in flight, want %d", k.MaxInFlight, n)
	}
}

// All requests of one connection are under way before the first answer is back.
func TestPipelinedRequestsOverlap(t *testing.T) {
	const n = 30
	l, _ := start(t, Profile{RTT: 2 * time.Second}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	requests := strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", n)
	if _, err := io.WriteString(conn, requests); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	for i := range n {
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		if k := l.Counters(); i == 0 && k.MaxInFlight != n {
			t.Errorf("%d in flight when the first answer came, want %d", k.MaxInFlight, n)
		}
	}
}

// A link is never faster than it says; how much slower depends on the machine
// and is for the benchmark below.
func TestNotFasterThanTheLink(t *testing.T) {
	const size = 1 << 20
	p := Profile{RTT: 40 * time.Millisecond, Bandwidth: 80e6}
	_, url := start(t, p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, size)) }))
	began := time.Now()
	r, err := client(t).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	n, _ := io.Copy(io.Discard, r.Body)
	least := 2*p.RTT + time.Duration(size*8*1e9/p.Bandwidth) // handshake, request, bytes
	if took := time.Since(began); n != size || took < least {
		t.Errorf("%d bytes in %v, want at least %v", n, took, least)
	}
}

func TestWhatIsNotHTTPIsRelayed(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		io.Copy(conn, conn)
		conn.Close()
	}()
	l, err := Listen(server.Addr().String(), Profile{RTT: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello := bytes.Repeat([]byte{0x16, 3, 1}, 100_000)
	go func() {
		conn.Write(hello)
		conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, hello) {
		t.Errorf("got %d of %d bytes, %v", len(got), len(hello), err)
	}
	if k := l.Counters(); k.Requests != 0 || k.BytesDown != int64(len(hello)) {
		t.Errorf("counted %+v", k)
	}
}

func TestCloseBreaksWhatIsUnderWay(t *testing.T) {
	release := make(chan struct{})
	l, url := start(t, Profile{RTT: time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(release)
		<-r.Context().Done()
	}))
	failed := make(chan error)
	c := client(t)
	go func() {
		_, err := c.Get(url)
		failed <- err
	}()
	<-release
	l.Close()
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}

func TestProfileNames(t *testing.T) {
	for _, s := range []string{"0s/unlimited", "5ms/1Gbit", "20ms/200Mbit", "50ms/unlimited"} {
		p, err := ParseProfile(s)
		if err != nil || p.String() != s {
			t.Errorf("%q is %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "20ms", "20/200Mbit", "20ms/200", "20ms/-1Mbit", "-1ms/1Mbit", "20ms/xMbit"} {
		if p, err := ParseProfile(s); err == nil {
			t.Errorf("%q is %v, want an error", s, p)
		}
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// BenchmarkThroughput shows how close to its bandwidth a link gets.
func BenchmarkThroughput(b *testing.B) {
	const size = 8 << 20
	body := make([]byte, size)
	for _, p := range []Profile{{}, {5 * time.Millisecond, 1e9}, {20 * time.Millisecond, 200e6}, {50 * time.Millisecond, 100e6}} {
		b.Run(p.String(), func(b *testing.B) {
			_, url := start(b, p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }))
			c := client(b)
			b.SetBytes(size)
			for b.Loop() {
				r, err := c.Get(url)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
		})
	}
}

// A link that was closed can be followed by another one at its address, which nobody
// can connect to meanwhile.
func TestAgain(t *testing.T) {
	l, url := start(t, Profile{}, http.FileServer(http.Dir(".")))
	c := client(t)
	get := func() error {
		r, err := c.Get(url + "/link.go")
		if err != nil {
			return err
		}
		return r.Body.Close()
	}
	for range 3 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("while the link is closed: %v", err)
		}
		again, err := l.Again(Profile{})
		if err != nil {
			t.Fatal(err)
		}
		l = again
		t.Cleanup(func() { again.Close() })
	}
}
