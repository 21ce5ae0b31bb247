package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// kubeconfig is a file of kind Config
// (kubernetes.io/docs/reference/config-api/kubeconfig.v1).
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Clusters       []struct {
		Name    string      `json:"name"`
		Cluster kubeCluster `json:"cluster"`
	} `json:"clusters"`
	Contexts []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Users []struct {
		Name string   `json:"name"`
		User kubeUser `json:"user"`
	} `json:"users"`
}

type kubeCluster struct {
	Server        string `json:"server"`
	ServerName    string `json:"tls-server-name"`
	Insecure      bool   `json:"insecure-skip-tls-verify"`
	Authority     string `json:"certificate-authority"`
	AuthorityData []byte `json:"certificate-authority-data"`
	ProxyURL      string `json:"proxy-url"`
}

type kubeUser struct {
	Certificate     string    `json:"client-certificate"`
	CertificateData []byte    `json:"client-certificate-data"`
	Key             string    `json:"client-key"`
	KeyData         []byte    `json:"client-key-data"`
	Token           string    `json:"token"`
	TokenFile       string    `json:"tokenFile"`
	Exec            *kubeExec `json:"exec"`
}

// readKubeconfig returns the cluster and the user of the current context of a file. Paths in
// it are relative to its directory.
func readKubeconfig(file string) (kubeCluster, kubeUser, error) {
	var c kubeconfig
	if err := readDocument(file, &c); err != nil {
		return kubeCluster{}, kubeUser{}, err
	}
	cluster, user, err := c.current()
	if err == nil {
		err = cluster.check()
	}
	if err != nil {
		return kubeCluster{}, kubeUser{}, fmt.Errorf("%s: %w", file, err)
	}
	dir := filepath.Dir(file)
	for _, path := range []*string{&cluster.Authority, &user.Certificate, &user.Key, &user.TokenFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	if e := user.Exec; e != nil && strings.Contains(e.Command, "/") && !filepath.IsAbs(e.Command) {
		e.Command = filepath.Join(dir, e.Command)
	}
	return cluster, user, nil
}

func (c kubeconfig) current() (cluster kubeCluster, user kubeUser, err error) {
	for _, x := range c.Contexts {
		if x.Name != c.CurrentContext {
			continue
		}
		for _, u := range c.Users {
			if u.Name == x.Context.User {
				user = u.User
			}
		}
		for _, k := range c.Clusters {
			if k.Name == x.Context.Cluster {
				return k.Cluster, user, nil
			}
		}
		return cluster, user, fmt.Errorf("there is no cluster %q", x.Context.Cluster)
	}
	return cluster, user, fmt.Errorf("there is no context %q", c.CurrentContext)
}

func (c kubeCluster) check() error {
	u, err := url.Parse(c.Server)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("server is not an address")
	case u.Scheme != "https":
		return errors.New("server is not an address that begins with https")
	case c.ProxyURL != "":
		return errors.New("proxy-url is not supported")
	}
	return nil
}

// tlsOf returns the TLS settings for the cluster and the user.
func (c kubeCluster) tlsOf(u kubeUser) (*tls.Config, error) {
	settings := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.Insecure} //nolint:gosec // as configured
	authority, err := either(c.AuthorityData, c.Authority)
	if err != nil {
		return nil, err
	}
	if len(authority) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(authority) {
			return nil, errors.New("certificate-authority has no certificate")
		}
	}
	certificate, err := either(u.CertificateData, u.Certificate)
	if err != nil {
		return nil, err
	}
	if len(certificate) == 0 {
		return settings, nil
	}
	key, err := either(u.KeyData, u.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, errors.New("client-certificate and client-key are no pair")
	}
	settings.Certificates = []tls.Certificate{pair}
	return settings, nil
}

// bearer returns the user's token, or "".
func (u kubeUser) bearer() (string, error) {
	if u.TokenFile == "" {
		return u.Token, nil
	}
	text, err := os.ReadFile(u.TokenFile)
	return strings.TrimSpace(string(text)), err
}

// either returns data, or else the content of a file, or nothing.
func either(data []byte, file string) ([]byte, error) {
	if len(data) > 0 || file == "" {
		return data, nil
	}
	return os.ReadFile(file)
}
