package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/link"
)

// authority signs certificates of servers and clients. No machine trusts it.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	a := authority{}
	a.key, a.certificate = a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// issue makes a key and its certificate; the authority's own signs itself.
func (a authority) issue(t testing.TB, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer, parent := a.key, a.certificate
	if signer == nil {
		signer, parent = key, template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate
}

// file writes the authority's certificate, and client those of a client, as
// BuildKit's tlsconfigdir has them.
func (a authority) file(t testing.TB, dir string) (name string) {
	name = filepath.Join(dir, "ca.crt")
	write(t, name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})))
	return name
}

func (a authority) client(t testing.TB, dir string) {
	t.Helper()
	key, certificate := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "client.cert"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})))
	write(t, filepath.Join(dir, "client.key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
}

// front is another way to the lab's registry, with a link of its own.
type front struct{ *link.Link }

// frontOptions say how one reaches it; the zero value is plain HTTP.
type frontOptions struct {
	path    string    // before the names of repositories: "mirror/of"
	by      authority // of the server's certificate; the zero value: no TLS
	clients bool      // they show certificates, too
}

func (l lab) front(o frontOptions) front {
	l.Helper()
	target := &url.URL{Scheme: "http", Host: l.Registry.Addr}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}, ErrorLog: log.New(io.Discard, "", 0)}
	var handler http.Handler = proxy
	if o.path != "" {
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rest, ok := strings.CutPrefix(r.URL.Path, "/v2/"+o.path+"/")
			if !ok {
				http.NotFound(w, r)
				return
			}
			r.URL.Path = "/v2/" + rest
			proxy.ServeHTTP(w, r)
		})
	}
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.by.key != nil {
		key, certificate := o.by.issue(l.TB, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}}}
		if o.clients {
			s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			s.TLS.ClientCAs.AddCert(o.by.certificate)
		}
		s.StartTLS()
	} else {
		s.Start()
	}
	l.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	way, err := link.Listen(s.Listener.Addr().String(), link.Profile{})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { closed(l.TB, way) })
	return front{way}
}
