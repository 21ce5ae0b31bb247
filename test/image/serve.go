package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Server is a registry of some images of a cache, in this process, over plain HTTP on
// a loopback port. It takes no time to build, for the demo; tests pull from the
// registry of package stack.
type Server struct {
	Addr string // host:port
	http http.Server
}

// Serve starts a registry that has each image under its Tag. The caller closes it.
func Serve(ctx context.Context, images ...*Image) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	s := &Server{Addr: l.Addr().String()}
	s.http.Handler = serve(images)
	go s.http.Serve(l) // until Close
	for _, i := range images {
		if err := i.Push(ctx, s.Addr+"/"+i.Tag()); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close ends the registry and its connections.
func (s *Server) Close() error { return s.http.Close() }

// serve is the registry of go-containerregistry for manifests, and the files of the
// cache for blobs: that registry has no byte ranges of the form "bytes=-n".
func serve(images []*Image) http.Handler {
	manifests := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	mux := http.NewServeMux()
	mux.Handle("/", manifests)
	mux.HandleFunc("GET /v2/{name}/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		f, err := openBlob(images, r.PathValue("digest"))
		if err != nil {
			manifests.ServeHTTP(w, r) // which says that it is not there
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, f)
	})
	return mux
}

// openBlob opens a blob of one of the images.
func openBlob(images []*Image, digest string) (f *os.File, err error) {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil, err
	}
	err = os.ErrNotExist
	for _, i := range images {
		f, err = os.Open(filepath.Join(string(i.dir), "blobs", h.Algorithm, h.Hex))
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return f, err
}
