package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A token is "EPOCH-GENERATION-ISSUED-SCOPE", ISSUED in milliseconds of Unix time.

// admit reports whether the request may have its answer. token is the bearer
// token that it carries and generation that of the token's request.
func (r *Registry) admit(req *http.Request) (token string, generation int, ok bool) {
	if r.opts.Basic {
		user, password, _ := req.BasicAuth()
		return "", 0, r.isLogin(user, password)
	}
	token, found := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !r.opts.Token || !found {
		return "", 0, !r.opts.Token
	}
	epoch, rest, _ := strings.Cut(token, "-")
	g, rest, _ := strings.Cut(rest, "-")
	issued, scope, _ := strings.Cut(rest, "-")
	repo, _, _ := split(req.URL.Path)
	valid := atoi(epoch) == r.epoch() && strings.Contains(scope, "repository:"+repo+":pull")
	if ttl := r.opts.TokenTTL; ttl > 0 && time.Since(time.UnixMilli(int64(atoi(issued)))) > time.Duration(ttl)*time.Second {
		valid = false
	}
	return token, atoi(g), valid
}

// SetLogin makes user and password the only ones that are accepted from now on.
func (r *Registry) SetLogin(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.user, r.mu.password = user, password
}

func (r *Registry) user() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.user
}

func (r *Registry) isLogin(user, password string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return user == r.mu.user && password == r.mu.password
}

// challenge answers 401. The generation goes with the realm to the token
// server.
func (r *Registry) challenge(w http.ResponseWriter, req *http.Request, repo string, generation int) {
	if r.opts.Basic {
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
	} else {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(
			`Bearer realm="%s/token?generation=%d",service="registrytest",scope="repository:%s:pull"`,
			r.front.URL, generation, repo))
	}
	http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
}

// serveToken gives tokens: to a GET with a password, or to a POST (OAuth 2)
// with a password or with the refresh token "refresh-" + Password.
func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request, q Request) {
	if r.broken(w, req, r.record(q)) {
		return
	}
	user, password, _ := req.BasicAuth()
	scopes := req.URL.Query()["scope"]
	if req.Method == http.MethodPost {
		user, password = req.PostFormValue("username"), req.PostFormValue("password")
		scopes = strings.Fields(req.PostFormValue("scope"))
		if s, ok := strings.CutPrefix(req.PostFormValue("refresh_token"), "refresh-"); ok {
			user, password = r.user(), s
		}
	}
	if r.user() != "" && !r.isLogin(user, password) {
		http.Error(w, "wrong credentials", http.StatusUnauthorized)
		return
	}
	token := fmt.Sprintf("%d-%d-%d-%s", r.epoch(), q.Generation, time.Now().UnixMilli(), strings.Join(scopes, ","))
	answer := map[string]any{"token": token, "access_token": token}
	if r.opts.TokenTTL > 0 {
		answer["expires_in"] = r.opts.TokenTTL
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}
