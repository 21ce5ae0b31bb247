package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// A token is "EPOCH-GENERATION-SCOPE".

// admit reports whether the request may have its answer. token is the bearer
// token that it carries and generation that of the token's request.
func (r *Registry) admit(req *http.Request) (token string, generation int, ok bool) {
	if r.opts.Basic {
		user, password, _ := req.BasicAuth()
		return "", 0, user == r.opts.User && password == r.opts.Password
	}
	token, found := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !r.opts.Token || !found {
		return "", 0, !r.opts.Token
	}
	epoch, rest, _ := strings.Cut(token, "-")
	g, scope, _ := strings.Cut(rest, "-")
	repo, _, _ := split(req.URL.Path)
	valid := atoi(epoch) == r.epoch() && strings.Contains(scope, "repository:"+repo+":pull")
	return token, atoi(g), valid
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
			user, password = r.opts.User, s
		}
	}
	if r.opts.User != "" && (user != r.opts.User || password != r.opts.Password) {
		http.Error(w, "wrong credentials", http.StatusUnauthorized)
		return
	}
	token := fmt.Sprintf("%d-%d-%s", r.epoch(), q.Generation, strings.Join(scopes, ","))
	answer := map[string]any{"token": token, "access_token": token}
	if r.opts.TokenTTL > 0 {
		answer["expires_in"] = r.opts.TokenTTL
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}
