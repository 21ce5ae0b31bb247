package config

import "path/filepath"

// Credentials configures where credentials for registries come from. Paths are absolute; ""
// stands for none.
type Credentials struct {
	Lent         bool   `toml:"lent"`          // what builds lend
	Docker       bool   `toml:"docker"`        // Docker's configuration file
	DockerConfig string `toml:"docker_config"` // its directory; "": as the docker command finds it
}

func (c *Config) validateCredentials(p *problems) {
	k := c.Credentials
	if k.DockerConfig != "" && !filepath.IsAbs(k.DockerConfig) {
		p.add("credentials.docker_config", "%q is not an absolute path", k.DockerConfig)
	}
	if !k.Docker && k.DockerConfig != "" {
		p.add("credentials.docker_config", "is set, but docker is false")
	}
}
