package ladle

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/auth/authprovider"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fetching is a client that fetches tokens, or answers with an error.
type fetching struct {
	client
	authority error // of the question for its key
	response  *auth.FetchTokenResponse
	fetch     error
	request   atomic.Pointer[auth.FetchTokenRequest]
}

func (c *fetching) GetTokenAuthority(context.Context, *auth.GetTokenAuthorityRequest) (*auth.GetTokenAuthorityResponse, error) {
	return &auth.GetTokenAuthorityResponse{PublicKey: make([]byte, 32)}, c.authority
}

func (c *fetching) FetchToken(_ context.Context, r *auth.FetchTokenRequest) (*auth.FetchTokenResponse, error) {
	c.request.Store(r)
	return c.response, c.fetch
}

// buildctl is buildctl's own source of credentials: user and password for a host,
// or none.
func buildctl(t *testing.T, host, user, password string) session.Attachable {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	file := configfile.New(t.TempDir() + "/config.json")
	if user != "" {
		file.AuthConfigs[host] = types.AuthConfig{Username: user, Password: password, ServerAddress: host}
	}
	return authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: authprovider.LoadAuthConfig(file)})
}

func tokenQuestion(repository, realm string) string {
	return "/token?" + url.Values{
		"host": {"host:1"}, "repository": {repository}, "realm": {realm}, "service": {"s"}, "scope": {"repository:a:pull", "other"},
	}.Encode()
}

// Where there is a token server, a client fetches the token, and its password
// stays with it.
func TestClientFetchesToken(t *testing.T) {
	o := newOffice(t, nil)
	token := &auth.FetchTokenResponse{Token: "t", ExpiresIn: 300}
	issued := &auth.FetchTokenResponse{Token: "t", ExpiresIn: 300, IssuedAt: time.Now().Unix() - 100}
	stale := &auth.FetchTokenResponse{Token: "t", ExpiresIn: 300, IssuedAt: time.Now().Unix() - 1000}
	ahead := &auth.FetchTokenResponse{Token: "t", ExpiresIn: 300, IssuedAt: time.Now().Unix() + 1000}
	secret := client{user: "u", secret: "s"}
	unable, off := status.Error(codes.Unimplemented, "old"), status.Error(codes.Unavailable, "told not to")
	for name, c := range map[string]struct {
		client    *fetching
		status    int
		want      credentials
		passwords int64
	}{
		"token":           {&fetching{response: token}, 200, credentials{Token: "t", Expires: 300}, 0},
		"issued before":   {&fetching{response: issued}, 200, credentials{Token: "t", Expires: 200}, 0},
		"clock behind":    {&fetching{response: stale}, 200, credentials{Token: "t"}, 0},
		"clock ahead":     {&fetching{response: ahead}, 200, credentials{Token: "t", Expires: 300}, 0},
		"no time":         {&fetching{response: &auth.FetchTokenResponse{Token: "t"}}, 200, credentials{Token: "t"}, 0},
		"refused":         {&fetching{fetch: errors.New("401")}, 502, credentials{}, 0},
		"an old client":   {&fetching{authority: unable}, 200, credentials{Username: "u@host:1", Secret: "s"}, 1},
		"told not to":     {&fetching{authority: off}, 200, credentials{Username: "u@host:1", Secret: "s"}, 1},
		"key not found":   {&fetching{authority: errors.New("locked")}, 502, credentials{}, 0},
		"gone":            {&fetching{fetch: off}, 404, credentials{}, 0},
		"nothing fetched": {&fetching{response: &auth.FetchTokenResponse{}}, 200, credentials{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.client.user, c.client.secret = secret.user, secret.secret
			o.admit("example/"+t.Name(), session.NewGroup(o.connect(t, c.client).ID()))
			status, got := o.borrow(t, tokenQuestion("example/"+t.Name(), "https://realm"))
			if d := c.want.Expires - got.Expires; d > 0 && d < 30 {
				c.want.Expires = got.Expires // time has passed
			}
			if status != c.status || got != c.want || c.client.asked.Load() != c.passwords {
				t.Errorf("status %d, %v, asked %d times for the password; want %d, %v, %d", status, got, c.client.asked.Load(), c.status, c.want, c.passwords)
			}
			if r := c.client.request.Load(); r != nil && (r.Host != "host:1" || r.Realm != "https://realm" || r.Service != "s" || strings.Join(r.Scopes, " ") != "repository:a:pull other") {
				t.Errorf("%v", r)
			}
		})
	}
	if status, _ := o.borrow(t, tokenQuestion("example/nobody", "https://realm")); status != http.StatusNotFound {
		t.Errorf("status %d", status)
	}
}

// Register replaces the embedded client's.
func (c *fetching) Register(s *grpc.Server) { auth.RegisterAuthServer(s, c) }

// With buildctl's own code: a client with a login fetches the token, one without has
// none, and no password is disclosed.
func TestDockersClientFetchesToken(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.PostFormValue("username") != "u" || r.PostFormValue("password") != "hunter2" || r.PostFormValue("scope") != "repository:a:pull other" {
			t.Errorf("%s %v", r.Method, r.PostForm)
		}
		fmt.Fprint(w, `{"access_token": "t", "expires_in": 60}`)
	}))
	defer server.Close()
	o := newOffice(t, nil)
	nobody := session.NewGroup(o.connect(t, buildctl(t, "", "", "")).ID())
	user := session.NewGroup(o.connect(t, buildctl(t, "host:1", "u", "hunter2")).ID())
	o.admit("example/a", nobody)
	if status, got := o.borrow(t, tokenQuestion("example/a", server.URL)); status != 200 || got != (credentials{}) || asked.Load() != 0 {
		t.Errorf("of nobody: status %d, %v", status, got)
	}
	o.admit("example/a", user)
	o.admit("example/a", nobody)
	if status, got := o.borrow(t, tokenQuestion("example/a", server.URL)); status != 200 || got != (credentials{Token: "t", Expires: 60}) {
		t.Errorf("of the user: status %d, %v", status, got)
	}
	o.wants(t, "example/a", 200, "u", "hunter2") // for basic authentication
}

// Of clients that are supposed to be admitted, only those are asked that the registry
// lets read the image.
func TestSupposedClients(t *testing.T) {
	var manifests atomic.Int64
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:hunter2")); r.Header.Get("Authorization") != want {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		manifests.Add(1)
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", "2")
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
	}))
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	o := newOffice(t, nil)
	group := func(password string) session.Group {
		return session.NewGroup(o.connect(t, buildctl(t, host, "u", password)).ID())
	}
	wrong, right := group("guessed"), group("hunter2")
	both := session.NewGroup(append(session.AllSessionIDs(wrong), session.AllSessionIDs(right)...)...)
	ask := "/credentials?" + url.Values{"host": {host}, "repository": {host + "/cache"}}.Encode()
	wants := func(status int, secret string) {
		t.Helper()
		if s, c := o.borrow(t, ask); s != status || c.Secret != secret {
			t.Errorf("status %d, %v; want %d %s", s, c, status, secret)
		}
	}
	images := func(blob string, n int) {
		t.Helper()
		var answer struct{ Images []string }
		if o.get(t, "/images?blob="+blob, &answer); len(answer.Images) != n {
			t.Errorf("images of %s: %v", blob, answer.Images)
		}
	}
	image := Image{host + "/cache:1", host + "/cache", []string{"one"}}
	wants(404, "")
	o.Suppose(image, nil)
	o.Suppose(image, wrong)
	wants(404, "")
	images("one", 0)
	o.Suppose(image, both)
	image.Blobs = []string{"two"}
	o.Suppose(image, both)
	wants(200, "hunter2")
	wants(200, "hunter2")
	images("one", 1)
	images("two", 1)
	if n := manifests.Load(); n != 1 {
		t.Errorf("%d requests for the manifest of who may read it", n)
	}
	o.Admit(image, wrong)
	wants(200, "guessed")
}

// A registry that does not answer whether a client is admitted delays no other client.
func TestSupposedClientsComeLast(t *testing.T) {
	asked := make(chan struct{}, 100)
	registry := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	o := newOffice(t, nil)
	o.Admit(Image{host + "/a:1", host + "/a", []string{"one"}}, session.NewGroup(o.connect(t, &client{user: "u", secret: "s"}).ID()))
	other := &client{user: "other"}
	o.Suppose(Image{host + "/a:2", host + "/a", []string{"two"}}, session.NewGroup(o.connect(t, other).ID()))
	o.wants(t, host+"/a", 200, "u@host:1", "s")
	if len(asked) > 0 || other.asked.Load() > 0 {
		t.Error("it was asked about somebody whose credentials are not needed")
	}
	o.Suppose(Image{host + "/a:3", host + "/a", []string{"one"}}, session.NewGroup(o.connect(t, other).ID()))
	var answer struct{ Images []string }
	if o.get(t, "/images?blob=one", &answer); len(answer.Images) != 1 {
		t.Errorf("images %v", answer.Images)
	}
}
