package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// kubeExec is a program that prints the credentials of a user of a kubeconfig
// (kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
type kubeExec struct {
	APIVersion         string     `json:"apiVersion"`
	Command            string     `json:"command"`
	Args               []string   `json:"args"`
	Env                []variable `json:"env"`
	ProvideClusterInfo bool       `json:"provideClusterInfo"`
}

// run returns the user with the credentials that the program prints. What it prints is in no
// error.
func (e *kubeExec) run(ctx context.Context, u kubeUser) (kubeUser, error) {
	if e.ProvideClusterInfo {
		return u, errors.New("exec: provideClusterInfo is not supported")
	}
	if !strings.HasPrefix(e.APIVersion, "client.authentication.k8s.io/") {
		return u, errors.New("exec: apiVersion is not known")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runTimeout, fmt.Errorf("no answer within %v", runTimeout))
	defer cancel()
	info, err := json.Marshal(map[string]any{"kind": "ExecCredential", "apiVersion": e.APIVersion, "spec": map[string]any{"interactive": false}})
	if err != nil {
		return u, err
	}
	cmd, out := command(ctx, append(e.Env[:len(e.Env):len(e.Env)], variable{"KUBERNETES_EXEC_INFO", string(info)}), e.Command, e.Args...)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return u, fmt.Errorf("exec: %s: %w", e.Command, err)
	}
	var answer struct {
		APIVersion string `json:"apiVersion"`
		Status     *struct {
			Token       string `json:"token"`
			Certificate string `json:"clientCertificateData"` // PEM
			Key         string `json:"clientKeyData"`         // PEM
		} `json:"status"`
	}
	if out.over || json.Unmarshal(out.Bytes(), &answer) != nil || answer.Status == nil || answer.APIVersion != e.APIVersion {
		return u, fmt.Errorf("exec: %s: answer not understood", e.Command)
	}
	u.Token, u.TokenFile = answer.Status.Token, ""
	if answer.Status.Certificate != "" {
		u.CertificateData, u.KeyData = []byte(answer.Status.Certificate), []byte(answer.Status.Key)
	}
	return u, nil
}
