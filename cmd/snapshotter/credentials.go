package main

import (
	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/cri"
	"github.com/ladle-dev/ladle/metrics"
)

// credentials are where the credentials of a process come from.
type credentials struct {
	offers  *auth.Offers  // nil: nothing is lent
	secrets *auth.Secrets // nil: there are none
	sources *auth.Sources
}

// newCredentials returns the credentials that the configuration has, in the order in which
// package auth names them. pulls, those of CRI's pulls, and counts may be nil. The caller closes
// secrets.
func newCredentials(cfg config.Credentials, pulls *cri.Credentials, counts *metrics.Credentials) credentials {
	var c credentials
	var list []auth.Source
	if cfg.Lent {
		c.offers = auth.NewOffers()
		list = append(list, c.offers)
	}
	if pulls != nil {
		list = append(list, pulls)
	}
	if cfg.KubeletConfig != "" {
		list = append(list, auth.NewKubelet(cfg.KubeletConfig, cfg.KubeletBinDir))
	}
	if cfg.Kubeconfig != "" {
		c.secrets = auth.NewSecrets(cfg.Kubeconfig, cfg.Secrets)
		list = append(list, c.secrets)
	}
	if cfg.Docker {
		list = append(list, auth.NewDocker(cfg.DockerConfig))
	}
	c.sources = auth.NewSources(counts, list...)
	return c
}
