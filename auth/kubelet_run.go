package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
)

// What the answer of a provider is good for, by its field cacheKeyType.
const (
	keyImage    = "Image"
	keyRegistry = "Registry"
	keyGlobal   = "Global"
)

// providerRequest is the kind CredentialProviderRequest of
// credentialprovider.kubelet.k8s.io (kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1).
type providerRequest struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Image      string `json:"image"` // without tag
}

// providerResponse is the kind CredentialProviderResponse.
type providerResponse struct {
	Kind          string   `json:"kind"`
	APIVersion    string   `json:"apiVersion"`
	CacheKeyType  string   `json:"cacheKeyType"`
	CacheDuration duration `json:"cacheDuration"` // none: the provider's default
	Auth          map[string]struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"auth"` // by patterns of images
}

// run runs the program of p in dir for an image, and returns its answer. Neither the answer
// nor what the program prints is in an error: it may be secret.
func (p *provider) run(ctx context.Context, dir, image string) (providerResponse, error) {
	request, err := json.Marshal(providerRequest{"CredentialProviderRequest", p.APIVersion, image})
	if err != nil {
		return providerResponse{}, err
	}
	cmd, out := command(ctx, p.Env, filepath.Join(dir, p.Name), p.Args...)
	cmd.Stdin = bytes.NewReader(request)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return providerResponse{}, err
	}
	var r providerResponse
	if out.over || json.Unmarshal(out.Bytes(), &r) != nil {
		return r, errors.New("answer not understood")
	}
	if r.Kind != "CredentialProviderResponse" || r.APIVersion != p.APIVersion {
		return r, fmt.Errorf("answered with another kind or version than %s", p.APIVersion)
	}
	switch r.CacheKeyType {
	case keyImage, keyRegistry, keyGlobal:
	default:
		return r, errors.New("answered with an unknown cacheKeyType")
	}
	return r, nil
}
