package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// kubeTimeout bounds a request to the API server, but for a watch, which ends after
	// watchFor at the latest.
	kubeTimeout = 10 * time.Second
	watchFor    = 5 * time.Minute

	// maxSecrets bounds the secrets that are kept of a selection, maxList the bytes of an
	// answer of the API server, and maxWatch those of all events of a watch.
	maxSecrets = 1000
	maxList    = 8 << 20
	maxWatch   = 64 << 20

	// pageSize is the number of secrets that are asked for at a time.
	pageSize = 100
)

// kubeAPI is a connection to an API server as a user of a kubeconfig. It sends GET requests
// for secrets, and no other requests.
type kubeAPI struct {
	server string
	token  string
	client *http.Client
}

// connect returns a connection by the kubeconfig file, with the certificates and tokens that
// are there now. It sends no request. The caller closes it.
func connect(ctx context.Context, file string) (*kubeAPI, error) {
	cluster, user, err := readKubeconfig(file)
	if err != nil {
		return nil, err
	}
	if user.Exec != nil {
		if user, err = user.Exec.run(ctx, user); err != nil {
			return nil, err
		}
	}
	settings, err := cluster.tlsOf(user)
	if err != nil {
		return nil, err
	}
	token, err := user.bearer()
	if err != nil {
		return nil, err
	}
	return &kubeAPI{
		server: strings.TrimSuffix(cluster.Server, "/"), token: token,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings, ForceAttemptHTTP2: true,
				DialContext:         (&net.Dialer{Timeout: kubeTimeout / 2}).DialContext,
				TLSHandshakeTimeout: kubeTimeout, ResponseHeaderTimeout: kubeTimeout,
			},
			// Another server must not get the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (a *kubeAPI) close() { a.client.CloseIdleConnections() }

// statusError is an answer of the API server other than 200.
type statusError int

func (e statusError) Error() string {
	return strings.TrimSpace(strconv.Itoa(int(e)) + " " + http.StatusText(int(e)))
}

// get sends a GET. The caller closes the body.
func (a *kubeAPI) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	target := a.server + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, statusError(resp.StatusCode)
	}
	return resp, nil
}

// fetch sends a GET and decodes the answer into *to. Errors do not contain the answer.
func (a *kubeAPI) fetch(ctx context.Context, path string, query url.Values, to any) error {
	ctx, cancel := context.WithTimeout(ctx, kubeTimeout)
	defer cancel()
	resp, err := a.get(ctx, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxList:
		return fmt.Errorf("answer of more than %d bytes", maxList)
	case json.Unmarshal(text, to) != nil:
		return errNotUnderstood
	}
	return nil
}

// errNotUnderstood is the error of an answer of another kind than was asked for.
var errNotUnderstood = errors.New("answer not understood")

// secret is an object of kind Secret.
type secret struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Type string            `json:"type"`
	Data map[string][]byte `json:"data"`
}

// selection is what is asked of the API server: one secret, or those of one type in a
// namespace.
type selection struct{ namespace, name, kind string }

func (s selection) String() string {
	if s.name != "" {
		return s.namespace + "/" + s.name
	}
	return s.namespace
}

func (s selection) path() string { return "/api/v1/namespaces/" + s.namespace + "/secrets" }

func (s selection) field() string {
	if s.name != "" {
		return "metadata.name=" + s.name
	}
	return "type=" + s.kind
}

// list returns the secrets of s, and the version from which a watch goes on. One secret is
// asked for by its name, which a user may do who may not list secrets.
func (a *kubeAPI) list(ctx context.Context, s selection) (all []secret, version string, err error) {
	if s.name != "" {
		var one secret
		err := a.fetch(ctx, s.path()+"/"+s.name, nil, &one)
		if err == statusError(http.StatusNotFound) { //nolint:errorlint // not wrapped
			return nil, "", nil
		}
		if err == nil && one.Kind != "Secret" {
			err = errNotUnderstood
		}
		return []secret{one}, one.Metadata.ResourceVersion, err
	}
	query := url.Values{"fieldSelector": {s.field()}, "limit": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Kind     string `json:"kind"`
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []secret `json:"items"`
		}
		if err := a.fetch(ctx, s.path(), query, &page); err != nil {
			return nil, "", err
		}
		if page.Kind != "SecretList" {
			return nil, "", errNotUnderstood
		}
		all = append(all, page.Items...)
		if len(all) > maxSecrets {
			return nil, "", fmt.Errorf("more than %d pull secrets", maxSecrets)
		}
		if page.Metadata.Continue == "" {
			return all, page.Metadata.ResourceVersion, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// event is a change of a secret.
type event struct {
	Type   string `json:"type"` // ADDED, MODIFIED, DELETED, BOOKMARK or ERROR
	Object secret `json:"object"`
}

// errGone is the error of a watch that cannot go on from its version.
var errGone = errors.New("the changes since then are not known any more")

// watch calls apply for all changes of s since version, and returns the version of the last
// one when the server has ended the watch.
func (a *kubeAPI) watch(ctx context.Context, s selection, version string, apply func(event)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, watchFor+kubeTimeout)
	defer cancel()
	query := url.Values{
		"fieldSelector": {s.field()}, "watch": {"1"}, "allowWatchBookmarks": {"true"},
		"timeoutSeconds": {strconv.Itoa(int(watchFor / time.Second))},
	}
	if version != "" {
		query.Set("resourceVersion", version)
	}
	resp, err := a.get(ctx, s.path(), query)
	if err == statusError(http.StatusGone) { //nolint:errorlint // not wrapped
		return "", errGone
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(io.LimitReader(resp.Body, maxWatch)); ; {
		var e event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return version, nil
		case err != nil:
			return "", errors.New("the watch broke")
		case e.Type == "ERROR":
			return "", errGone
		}
		version = e.Object.Metadata.ResourceVersion
		if e.Type != "BOOKMARK" {
			apply(e)
		}
	}
}
