package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/takeover"
)

// newMetrics returns the daemon's collectors, and the registry that they are in.
func newMetrics() (*metrics.Metrics, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return metrics.New(registry), registry
}

// observe serves metrics and profiles at the addresses in cfg.
func observe(ctx context.Context, cfg config.Observation, registry *prometheus.Registry, s *takeover.Sockets, open *closers) error {
	if cfg.MetricsAddress != "" {
		l, err := net.Listen("tcp", cfg.MetricsAddress)
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		serveHTTP(ctx, "metrics", l, mux, open)
	}
	if cfg.DebugAddress != "" {
		l, err := s.Listen(cfg.DebugAddress, 0o600)
		if err != nil {
			return err
		}
		serveHTTP(ctx, "profiles", l, profiles(), open)
	}
	return nil
}

// profiles returns the handlers of net/http/pprof in a mux of their own: any package may
// add to the default one.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// serveHTTP serves on l in the background. A failure is logged, and the daemon runs on.
func serveHTTP(ctx context.Context, name string, l net.Listener, h http.Handler, open *closers) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	open.add(name, func(context.Context) error { return srv.Close() })
	log.G(ctx).WithField("server", name).WithField("address", l.Addr()).Info("HTTP server listens")
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.G(ctx).WithError(err).WithField("server", name).Error("HTTP server failed")
		}
	}()
}
