package ladle

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/moby/buildkit/util/resolver/config"
)

// Ladle is told what BuildKit does with its configuration: mirrors first, each
// with its own settings, then the registry.
func TestHostsOfRegistry(t *testing.T) {
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	for _, name := range []string{"a.crt", "b.cert", "b.key", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificates := t.TempDir()
	pair := config.TLSKeyPair{Certificate: testPair(t, certificates), Key: filepath.Join(certificates, "key.pem")}
	ca := filepath.Join(certificates, "cert.pem")
	o := newOffice(t, map[string]config.RegistryConfig{
		"docker.io":           {Mirrors: []string{"mirror.example/hub", "127.0.0.1:5000"}},
		"mirror.example":      {RootCAs: []string{ca}, KeyPairs: []config.TLSKeyPair{pair}},
		"http.example":        {PlainHTTP: &yes},
		"insecure.example":    {Insecure: &yes},
		"both.example:5000":   {Insecure: &yes, PlainHTTP: &yes},
		"localhost:5000":      {},
		"localhost:5001":      {PlainHTTP: &no},
		"localhost:5002":      {Insecure: &yes},
		"localhost:5003":      {Insecure: &yes, PlainHTTP: &no},
		"relative.example":    {RootCAs: []string{"registries_test.go"}},
		"nowhere.example":     {RootCAs: []string{dir + "/none"}},
		"no.directory":        {TLSConfigDir: []string{dir + "/none"}},
		"certificate.example": {TLSConfigDir: []string{dir}},
	})
	for registry, want := range map[string][]host{
		"docker.io": {
			{URL: "https://mirror.example/v2/hub", CAs: []string{ca}, KeyPairs: []keyPair{{pair.Certificate, pair.Key}}},
			{URL: "http://127.0.0.1:5000/v2"}, {URL: "https://registry-1.docker.io/v2"},
		},
		"http.example":      {{URL: "http://http.example/v2"}},
		"insecure.example":  {{URL: "https://insecure.example/v2", Insecure: true}},
		"both.example:5000": {{URL: "https://both.example:5000/v2", Insecure: true, Fallback: true}},
		"localhost:5000":    {{URL: "http://localhost:5000/v2"}},
		"localhost:5001":    {{URL: "https://localhost:5001/v2"}},
		"localhost:5002":    {{URL: "https://localhost:5002/v2", Insecure: true, Fallback: true}},
		"localhost:5003":    {{URL: "https://localhost:5003/v2", Insecure: true}},
		"relative.example":  {{URL: "https://relative.example/v2", CAs: []string{filepath.Join(here, "registries_test.go")}}},
		"no.directory":      {{URL: "https://no.directory/v2"}},
		"other.example":     nil,
	} {
		var got struct{ Hosts []host }
		if status := o.get(t, "/hosts?registry="+registry, &got); status != http.StatusOK || !reflect.DeepEqual(got.Hosts, want) {
			t.Errorf("%s: status %d, %v, want %v", registry, status, got.Hosts, want)
		}
	}
	for _, registry := range []string{"nowhere.example", "certificate.example"} { // an empty certificate is an error for BuildKit, too
		if status := o.get(t, "/hosts?registry="+registry, nil); status != http.StatusBadGateway {
			t.Errorf("%s: status %d", registry, status)
		}
	}
	cas, pairs, err := filesIn(dir)
	if err != nil || !reflect.DeepEqual(cas, []string{dir + "/a.crt"}) || !reflect.DeepEqual(pairs, []config.TLSKeyPair{{Certificate: dir + "/b.cert", Key: dir + "/b.key"}}) {
		t.Errorf("%v %v %v", cas, pairs, err)
	}
}

// testPair makes a certificate and its key, and returns the certificate's file.
func testPair(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem")
}
