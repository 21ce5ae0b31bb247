package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	imageref "github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/log"
	"google.golang.org/grpc"

	"github.com/ladle-dev/ladle/cri"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/takeover"
)

// openPulls returns the credentials of CRI's pulls; nil if the proxy is not configured, and was
// not before either: logins that are sealed on disk are used until the layers that need them are
// local.
func (d *daemon) openPulls(ctx context.Context) *cri.Credentials {
	dir := filepath.Join(d.cfg.Root, "cri")
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && d.cfg.CRI.Address == "" {
		return nil
	}
	return cri.OpenCredentials(ctx, dir)
}

// listenForImageService makes the server of the proxy of CRI's image service, if it is configured,
// and begins to forget the logins of pulls that are not wanted any more.
func (d *daemon) listenForImageService(ctx context.Context) error {
	if d.pulls == nil {
		return nil
	}
	d.forgetPulls(ctx)
	path := d.cfg.CRI.Address
	if path == "" {
		return nil
	}
	o := cri.Options{ImageService: d.cfg.CRI.ImageService, Credentials: d.pulls, Pulled: d.sourcesOf(ctx)}
	proxy, err := cri.NewProxy(o, grpc.StreamInterceptor(logCall))
	if err != nil {
		return err
	}
	d.open.add("connection to CRI's image service", func(context.Context) error { return proxy.Close() })
	l, err := d.Sockets.ImageService(ctx, path)
	if err != nil {
		return fmt.Errorf("proxy of CRI's image service: %w", err)
	}
	srv := &server{proxy.Server(), l}
	d.servers[takeover.ImageServiceEndpoint] = srv
	d.open.add("proxy of CRI's image service", srv.drain)
	log.G(ctx).WithField("address", path).WithField("image_service", d.cfg.CRI.ImageService).Info("CRI's image service is passed on")
	return nil
}

// forgetPulls forgets the logins of pulls that are not wanted any more, until the daemon stops.
func (d *daemon) forgetPulls(ctx context.Context) {
	// The goroutine runs until the daemon stops; ctx is that of the start.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.pulls.Sweep(ctx, func() cri.Wants { return wantsOf(d.layers.Unfinished()) })
	}()
	d.open.add("removal of logins", func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
}

// wantsOf returns the repositories of layers that are not finished.
func wantsOf(all []layer.Unfinished) cri.Wants {
	w := cri.Wants{Absent: map[string]bool{}, Unproved: map[string]bool{}}
	for _, l := range all {
		of := w.Absent
		if l.Unproved {
			of = w.Unproved
		}
		for _, image := range l.Images {
			if spec, err := imageref.Parse(image); err == nil {
				of[spec.Locator] = true
			}
		}
	}
	return w
}

// logCall logs a call that is passed on. Its error is containerd's, whose log has it, too.
func logCall(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx := withMethod(stream.Context(), info.FullMethod)
	err := next(srv, &loggedStream{stream, ctx})
	log.G(ctx).WithError(err).Debug("CRI's call was passed on")
	return err
}
