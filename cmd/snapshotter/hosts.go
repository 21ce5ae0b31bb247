package main

import (
	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/metrics"
)

// hostsOptions returns the settings for registries: mirrors, lenders and credentials.
func hostsOptions(cfg config.Config, creds credentials, counts *metrics.HTTP) fetch.HostsOptions {
	opts := configuredHosts(cfg, creds.sources)
	if creds.offers != nil {
		opts.Lent = creds.offers.Hosts
	}
	opts.Wrap = counts.Transport
	return opts
}

// configuredHosts says where registries are found by the configuration alone.
func configuredHosts(cfg config.Config, sources *auth.Sources) fetch.HostsOptions {
	opts := fetch.HostsOptions{
		Mirrors:        mirrors(cfg.Registries),
		Credentials:    sources.Credentials,
		Refused:        sources.Refused,
		RequestTimeout: cfg.Registries.RequestTimeout.Duration(),
	}
	if cfg.HostsDir != "" {
		opts.Dirs = []string{cfg.HostsDir}
	}
	return opts
}

func mirrors(cfg config.Registries) map[string][]fetch.Mirror {
	all := map[string][]fetch.Mirror{}
	for registry, host := range cfg.Host {
		for _, m := range host.Mirrors {
			header, _ := m.Headers() // Validate has seen it
			all[registry] = append(all[registry], fetch.Mirror{
				Host:           m.Host,
				Insecure:       m.Insecure,
				Header:         header,
				RequestTimeout: m.RequestTimeout.Duration(),
			})
		}
	}
	return all
}
