package snapshot

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/snapshotters"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// Labels of remote snapshots, none of which a client can set.
const (
	// remoteLabel is how BuildKit tells a remote snapshot.
	remoteLabel = "containerd.io/snapshot/remote"
	layerLabel  = ownPrefix + "layer" // digest of the blob
	tocLabel    = ownPrefix + "toc"   // digest of the TOC
	imageLabel  = ownPrefix + "image" // reference of an image that has the layer
)

// credentialsLabel is of a Prepare, and is stored with the remote snapshot that it makes:
// the socket of a lender (package auth).
const credentialsLabel = ownPrefix + "credentials"

// ownPrefix begins the labels that only this package sets, and the labels of requests,
// which are not stored.
const ownPrefix = "containerd.io/snapshot/ladle."

// tocRequestLabel is the annotation of the layer's descriptor that names its
// TOC (eStargz specification, "TOC digest").
const tocRequestLabel = "containerd.io/snapshot/stargz/toc.digest"

const labelPrefix = "containerd.io/snapshot/"

// A dialect is the labels by which one family of clients says which layer a
// Prepare is for.
type dialect struct{ ref, digest, layers, manifest string }

var dialects = []dialect{
	{ // BuildKit and clients made for stargz-snapshotter
		ref:    "containerd.io/snapshot/remote/stargz.reference",
		digest: "containerd.io/snapshot/remote/stargz.digest",
		layers: "containerd.io/snapshot/remote/stargz.layers",
	},
	{ // containerd's transfer service, its client, and CRI
		ref:      snapshotters.TargetRefLabel,
		digest:   snapshotters.TargetLayerDigestLabel,
		layers:   snapshotters.TargetImageLayersLabel,
		manifest: snapshotters.TargetManifestDigestLabel,
	},
}

// errTwoLayers says that the labels of a Prepare name different layers.
var errTwoLayers = errors.New("the labels name two layers: some are annotations of the image")

// parseRequest returns the layer that the labels of a Prepare ask for, and
// whether it is the topmost of its image. The layers that a client lists
// begin with the one asked for.
func parseRequest(labels map[string]string) (req layer.Request, top bool, err error) {
	d, suffix, err := dialectOf(labels)
	if err != nil {
		return req, false, err
	}
	value := func(key string) string {
		if v := labels[key+suffix]; v != "" {
			return v
		}
		return labels[key]
	}
	req.Source.Ref = value(d.ref)
	if req.Source.Digest, err = digest.Parse(value(d.digest)); err != nil {
		return req, false, fmt.Errorf("label %s: %w", d.digest, err)
	}
	for key, to := range map[string]*digest.Digest{
		tocRequestLabel:               &req.TOC,
		snapshots.LabelSnapshotDiffID: &req.DiffID,
		d.manifest:                    &req.Manifest,
	} {
		if v := value(key); v != "" {
			if *to, err = digest.Parse(v); err != nil {
				return req, false, fmt.Errorf("label %s: %w", key, err)
			}
		}
	}
	listed := parseDigests(value(d.layers))
	req.Siblings = slices.DeleteFunc(listed, func(d digest.Digest) bool { return d == req.Source.Digest })
	return req, len(listed) > 0 && len(req.Siblings) == 0, nil
}

// dialectOf returns the dialect of labels, and the suffix that all its labels have. An
// image's annotations arrive as labels, too, and a client that uses one dialect does not
// overwrite annotations in another. If two dialects name different layers, one is the
// image's, and following it could read a repository that the client may not read.
func dialectOf(labels map[string]string) (d dialect, suffix string, err error) {
	suffixes := []string{""}
	for key := range labels {
		if _, s, ok := cutTransient(key); ok && !slices.Contains(suffixes, s) {
			suffixes = append(suffixes, s)
		}
	}
	slices.Sort(suffixes)
	err = errNoLayer
	for _, other := range dialects {
		for _, s := range suffixes {
			ref, blob := labels[other.ref+s], labels[other.digest+s]
			switch {
			case ref == "" || blob == "":
			case err != nil:
				d, suffix, err = other, s, nil
			case ref != labels[d.ref+suffix] || blob != labels[d.digest+suffix]:
				return dialect{}, "", errTwoLayers
			}
		}
	}
	return d, suffix, err
}

// parseDigests leaves out what is not a digest: the list is only a hint.
func parseDigests(list string) []digest.Digest {
	var digests []digest.Digest
	for field := range strings.SplitSeq(list, ",") {
		if d, err := digest.Parse(strings.TrimSpace(field)); err == nil {
			digests = append(digests, d)
		}
	}
	return digests
}

// cutTransient splits the key of a transient label, which ends in a dot and 25 characters
// of a random identity. BuildKit sets such labels before a call and removes them after it,
// six updates for each layer and step of a build (BuildKit v0.34, cache/refs.go,
// makeTmpLabelsStargzMode; identity.NewID).
func cutTransient(key string) (name, suffix string, ok bool) {
	const size = 1 + 25
	n := len(key) - size
	if n < len(labelPrefix) || !strings.HasPrefix(key, labelPrefix) || key[n] != '.' {
		return key, "", false
	}
	for _, c := range []byte(key[n+1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return key, "", false
		}
	}
	return key[:n], key[n:], true
}

// isOwn reports whether only this package may set a label. It ignores those of clients,
// among which are annotations of images.
func isOwn(key string) bool {
	return key == remoteLabel || strings.HasPrefix(key, ownPrefix)
}

// storedLabels returns the labels of a client that are stored.
func storedLabels(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	maps.DeleteFunc(labels, func(key, _ string) bool {
		_, _, isTransient := cutTransient(key)
		return isTransient || isOwn(key)
	})
	return labels
}

// remoteLabels returns the labels of the remote snapshot of a layer, which the
// Prepare key asked for.
func remoteLabels(id store.ID, key string, client map[string]string) map[string]string {
	labels := storedLabels(client)
	if space, _, ok := cutKey(key); ok {
		labels[spaceLabel+space] = "true"
	}
	if socket := client[credentialsLabel]; socket != "" {
		labels[credentialsLabel] = socket
	}
	if req, _, err := parseRequest(client); err == nil {
		labels[imageLabel] = req.Source.Ref
	}
	labels[remoteLabel] = "ladle"
	labels[layerLabel] = id.Blob.String()
	labels[tocLabel] = id.TOC.String()
	return labels
}

// IsRemote reports whether a snapshot is remote: its content is a layer of the store.
func IsRemote(info snapshots.Info) bool {
	_, remote := layerOf(info)
	return remote
}

// layerOf returns the layer of a remote snapshot.
func layerOf(info snapshots.Info) (id store.ID, remote bool) {
	blob, remote := info.Labels[layerLabel]
	return store.ID{Blob: digest.Digest(blob), TOC: digest.Digest(info.Labels[tocLabel])}, remote
}
