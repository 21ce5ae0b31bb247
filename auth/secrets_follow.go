package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

const (
	// After a round that was short a selection is asked for again after followWait, which
	// doubles up to followMost with each further one.
	followWait = time.Second
	followMost = time.Minute
)

// follow keeps f up to date until Close.
func (s *Secrets) follow(sel selection, f *followed) {
	version, short := "", 0
	for s.ctx.Err() == nil {
		began := time.Now()
		next, err := s.round(sel, f, version)
		version = next
		wait := min(s.wait<<short, s.most)
		switch short = min(short+1, 20); {
		case err == statusError(http.StatusForbidden): //nolint:errorlint // not wrapped
			wait = s.most
		case time.Since(began) > s.most:
			wait, short = s.wait, 0
		}
		f.tried()
		sleep(s.ctx, wait/2+rand.N(wait/2)) // not all nodes at the same time
	}
	f.tried() // nobody waits for what will not come
}

// tried ends the wait for the first attempt. It is called by one goroutine.
func (f *followed) tried() {
	select {
	case <-f.first:
	default:
		close(f.first)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// round connects, lists the secrets of sel unless their version is known, and watches them
// until that ends. It returns the version to go on from, or "". Each round connects anew, since
// certificates and tokens of files may have changed.
func (s *Secrets) round(sel selection, f *followed, version string) (next string, err error) {
	api, err := connect(s.ctx, s.kubeconfig)
	if err != nil {
		s.failed(f, err)
		return "", err
	}
	defer api.close()
	if version == "" {
		all, listed, err := api.list(s.ctx, sel)
		if err != nil {
			s.failed(f, err)
			return "", err
		}
		s.replace(f, all)
		version = listed
	}
	next, err = api.watch(s.ctx, sel, version, func(e event) { s.apply(sel, f, e) })
	if err != nil && err != errGone && err != statusError(http.StatusForbidden) { //nolint:errorlint // not wrapped
		s.failed(f, err)
	}
	return next, err
}

func (s *Secrets) failed(f *followed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.err = err
}

// replace stores the secrets of a list, and ends the wait for them.
func (s *Secrets) replace(f *followed, all []secret) {
	rings := map[string]keyring{}
	for _, one := range all {
		if k, ok := one.keyring(); ok {
			rings[one.Metadata.Name] = k
		}
	}
	s.mu.Lock()
	f.rings, f.err = rings, nil
	s.mu.Unlock()
	f.tried()
}

// apply stores a change.
func (s *Secrets) apply(sel selection, f *followed, e event) {
	name := e.Object.Metadata.Name
	if sel.name != "" && name != sel.name {
		return
	}
	k, ok := e.Object.keyring()
	s.mu.Lock()
	defer s.mu.Unlock()
	f.err = nil
	if e.Type == "DELETED" || !ok {
		delete(f.rings, name)
	} else if len(f.rings) < maxSecrets {
		f.rings[name] = k
	}
}

// keyring returns the logins of a pull secret; ok is false if it is none.
func (s secret) keyring() (k keyring, ok bool) {
	var entries map[string]dockerEntry
	var err error
	switch s.Type {
	case typeConfigJSON:
		var file struct {
			Auths map[string]dockerEntry `json:"auths"`
		}
		err = json.Unmarshal(s.Data[".dockerconfigjson"], &file)
		entries = file.Auths
	case typeConfig:
		err = json.Unmarshal(s.Data[".dockercfg"], &entries)
	default:
		return keyring{}, false
	}
	if err != nil {
		return keyring{}, false
	}
	logins := map[string]Login{}
	for location, e := range entries {
		if l := e.login(); l != (Login{}) {
			logins[location] = l
		}
	}
	return newKeyring(logins), true
}

// dockerEntry is an entry of a pull secret.
type dockerEntry struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Auth     string `json:"auth"` // base64 of user:password; counts if it is there
}

// login returns the login of e, or none if it is not understood.
func (e dockerEntry) login() Login {
	if e.Auth == "" {
		return Login{User: e.Username, Secret: e.Password}
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(e.Auth), "="))
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return Login{}
	}
	return Login{User: user, Secret: password}
}
