package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/estargz"
	estargzconvert "github.com/containerd/stargz-snapshotter/nativeconverter/estargz"
	zstdchunkedconvert "github.com/containerd/stargz-snapshotter/nativeconverter/zstdchunked"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// peerCommand returns a command that converts the image in dir by the peer.
func peerCommand(ctx context.Context, dir, format string) *exec.Cmd {
	return exec.CommandContext(ctx, "/proc/self/exe", "-peer", format, dir)
}

// convertAsPeer converts the image of a layout, and names the result in its index.json. Like
// nerdctl, it compresses eStargz with level 9.
func convertAsPeer(ctx context.Context, dir, format string) error {
	labels := &labelStore{}
	labels.mu.all = map[digest.Digest]map[string]string{}
	store, err := local.NewLabeledStore(dir, labels)
	if err != nil {
		return err
	}
	var idx ocispec.Index
	name := filepath.Join(dir, ocispec.ImageIndexFile)
	if err := read(name, &idx); err != nil {
		return err
	}
	if len(idx.Manifests) != 1 {
		return errors.New("the layout has not one image")
	}
	layers := estargzconvert.LayerConvertFunc(estargz.WithCompressionLevel(9))
	if format == "zstd:chunked" {
		layers = zstdchunkedconvert.LayerConvertFunc()
	}
	made, err := converter.DefaultIndexConvertFunc(layers, true, platforms.All)(ctx, store, idx.Manifests[0])
	if err != nil {
		return err
	}
	if made == nil {
		return fmt.Errorf("%s is not converted", idx.Manifests[0].Digest)
	}
	idx.Manifests[0] = *made
	b, err := json.Marshal(idx)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// labelStore are the labels of a content store, which containerd has in its database.
type labelStore struct {
	mu struct {
		sync.Mutex
		all map[digest.Digest]map[string]string
	}
}

// Get implements local.LabelStore.
func (l *labelStore) Get(d digest.Digest) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.mu.all[d]), nil
}

// Set implements local.LabelStore.
func (l *labelStore) Set(d digest.Digest, labels map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.all[d] = maps.Clone(labels)
	return nil
}

// Update implements local.LabelStore.
func (l *labelStore) Update(d digest.Digest, labels map[string]string) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := maps.Clone(l.mu.all[d])
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range labels {
		if all[name] = value; value == "" {
			delete(all, name)
		}
	}
	l.mu.all[d] = all
	return maps.Clone(all), nil
}
