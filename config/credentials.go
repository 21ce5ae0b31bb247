package config

import (
	"path/filepath"
	"strings"
)

// Credentials configures where credentials for registries come from. Paths are absolute; ""
// stands for none.
type Credentials struct {
	Lent          bool   `toml:"lent"`            // what builds lend
	KubeletConfig string `toml:"kubelet_config"`  // file or directory of CredentialProviderConfig
	KubeletBinDir string `toml:"kubelet_bin_dir"` // directory of the providers' programs

	// Kubeconfig is the file by which pull secrets are read, Secrets which: "namespace" or
	// "namespace/name" each.
	Kubeconfig string   `toml:"kubeconfig"`
	Secrets    []string `toml:"secrets"`

	Docker       bool   `toml:"docker"`        // Docker's configuration file
	DockerConfig string `toml:"docker_config"` // its directory; "": as the docker command finds it
}

func (c *Config) validateCredentials(p *problems) {
	k := c.Credentials
	for _, path := range [][2]string{
		{"credentials.kubelet_config", k.KubeletConfig}, {"credentials.kubelet_bin_dir", k.KubeletBinDir},
		{"credentials.kubeconfig", k.Kubeconfig}, {"credentials.docker_config", k.DockerConfig},
	} {
		if path[1] != "" && !filepath.IsAbs(path[1]) {
			p.add(path[0], "%q is not an absolute path", path[1])
		}
	}
	if (k.KubeletConfig == "") != (k.KubeletBinDir == "") {
		p.add("credentials.kubelet_config", "is of use only together with kubelet_bin_dir")
	}
	if (k.Kubeconfig == "") != (len(k.Secrets) == 0) {
		p.add("credentials.kubeconfig", "is of use only together with secrets")
	}
	for _, s := range k.Secrets {
		namespace, name, named := strings.Cut(s, "/")
		if !isKubernetesName(namespace) || named && !isKubernetesName(name) {
			p.add("credentials.secrets", "%q is neither a namespace nor namespace/name", s)
		}
	}
	if !k.Docker && k.DockerConfig != "" {
		p.add("credentials.docker_config", "is set, but docker is false")
	}
}

// isKubernetesName reports whether s can be the name of an object: a DNS subdomain (RFC 1123).
func isKubernetesName(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && s != "." && s != ".."
}
