package snapshot

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/ladle-dev/ladle/store"
)

// TestProof has the names that clients give to layers, over no parent, one that they
// unpacked, and a remote one.
func TestProof(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	low, diffID := digest.FromString("low"), digest.FromString("layer")
	chain := identity.ChainID([]digest.Digest{low, diffID})
	buildkit := func(d digest.Digest) string { return buildkitPrefix + strings.Replace(d.String(), ":", "-", 1) }
	layer := idOf("layer")
	stargz := identity.ChainID([]digest.Digest{diffID, layer.TOC})
	ofLadle := digest.FromString("ladle: lazy layer " + diffID.String() + " " + layer.Blob.String() + " " + layer.TOC.String())
	both := identity.ChainID([]digest.Digest{ofLadle, layer.TOC})
	for name, info := range map[string]snapshots.Info{
		"ns/7/" + low.String(): {},
		low.String() + "@3": {Labels: map[string]string{
			snapshots.LabelSnapshotRef: low.String(), layerLabel: digest.FromString("blob").String(), tocLabel: "x",
		}},
		"ns/8/" + buildkit(low): {},
		"ns/9/work":             {},
	} {
		err := s.meta.WithTransaction(t.Context(), true, func(ctx context.Context) error {
			if _, err := storage.CreateSnapshot(ctx, snapshots.KindActive, name+"-", ""); err != nil {
				return err
			}
			_, err := storage.CommitActive(ctx, name+"-", name, snapshots.Usage{}, snapshots.WithLabels(info.Labels))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.meta.WithTransaction(t.Context(), true, func(ctx context.Context) error { //nolint:errcheck // noStrays tells
			_, _, err := storage.Remove(ctx, name)
			return err
		})
	}
	for _, test := range []struct {
		target, parent string
		proved         bool // of the right diffID; else nothing can be
	}{
		{diffID.String(), "", true},
		{buildkit(diffID), "", true},
		{buildkit(stargz), "", true},
		{buildkit(ofLadle), "", true},
		{buildkit(both), "", true},
		{buildkit(identity.ChainID([]digest.Digest{low, stargz})), "ns/8/" + buildkit(low), true},
		{"work", "", false},
		{"sha256:1234", "", false},
		{chain.String(), "ns/7/" + low.String(), true},
		{chain.String(), low.String() + "@3", true},
		{buildkit(chain), "ns/8/" + buildkit(low), true},
		{chain.String(), "ns/8/" + buildkit(low), false},
		{chain.String(), "ns/9/work", false},
	} {
		proves, err := s.proof(t.Context(), test.target, test.parent, layer)
		if err != nil || (proves != nil) != test.proved {
			t.Errorf("%s over %s: %v, %v", test.target, test.parent, proves != nil, err)
		}
		if proves != nil && (!proves(diffID) || proves(low)) {
			t.Errorf("%s over %s: proves %v and another %v", test.target, test.parent, proves(diffID), proves(low))
		}
	}
	if _, err := s.proof(t.Context(), chain.String(), "ns/10/gone", layer); err == nil {
		t.Error("a parent that is not there")
	}
}

// TestImportTakesLonger: an import is not bounded by the time in which a layer must have
// become readable.
func TestImportTakesLonger(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	s.opts.OpenTimeout = time.Second
	ctx, importing, cancel := s.openContext(t.Context())
	importing()
	late, _, cancelLate := s.openContext(t.Context())
	defer cancelLate()
	<-late.Done()
	if ctx.Err() != nil {
		t.Error(context.Cause(ctx))
	}
	cancel()
	if ctx.Err() == nil {
		t.Error("not cancelled")
	}
}

// TestLiesAreRefused: no snapshot is made over one that has another layer than its name says,
// from when that is known. It can be removed.
func TestLiesAreRefused(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	diffIDs := []digest.Digest{digest.FromString("low"), digest.FromString("top")}
	names := identity.ChainIDs(slices.Clone(diffIDs))
	layers := []store.ID{d.addLayer(t, "low", map[string]string{"low": "x"}), d.addLayer(t, "top", map[string]string{"top": "x"})}
	parent := ""
	for n, name := range names {
		labels := lazyLabels(name.String(), layers[n])
		_, err := s.Prepare(t.Context(), "ns/1/extract-"+name.String(), parent, snapshots.WithLabels(labels))
		if !errdefs.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		parent = name.String()
	}
	try := func(want error) {
		t.Helper()
		for what, call := range map[string]func() error{
			"Prepare": func() error { _, err := s.Prepare(t.Context(), "ns/2/active", parent); return err },
			"Mounts":  func() error { _, err := s.Mounts(t.Context(), "ns/3/before"); return err },
			"View":    func() error { _, err := s.View(t.Context(), "ns/4/view", parent); return err },
		} {
			if err := call(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		for _, key := range []string{"ns/2/active", "ns/4/view"} {
			if err := s.Remove(t.Context(), key); (err == nil) != (want == nil) {
				t.Errorf("remove %s: %v", key, err)
			}
		}
	}
	if _, err := s.Prepare(t.Context(), "ns/3/before", parent); err != nil {
		t.Fatal(err)
	}
	d.mu.proofs = map[store.ID]store.Proof{}
	try(nil)
	wantDoubtful(t, s, names...)
	d.mu.proofs[layers[0]], d.mu.proofs[layers[1]] = store.Proof{DiffID: diffIDs[0]}, store.Proof{DiffID: diffIDs[1]}
	try(nil)
	wantDoubtful(t, s)
	d.mu.proofs[layers[0]] = store.Proof{DiffID: digest.FromString("another")}
	try(errOtherLayer)
	wantDoubtful(t, s, names[0])
	for _, key := range []string{"ns/3/before", names[1].String(), names[0].String()} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
}

// wantDoubtful compares the chain IDs of doubtful snapshots.
func wantDoubtful(t *testing.T, s *Snapshotter, want ...digest.Digest) {
	t.Helper()
	all, err := s.Doubtful(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []digest.Digest
	for _, d := range all {
		got = append(got, d.Chain)
	}
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("doubtful are %q, want %q", got, want)
	}
}

// TestIdentityOfLadleBuildkitd looks for the text in the program that has it, too, in another
// module.
func TestIdentityOfLadleBuildkitd(t *testing.T) {
	text, err := os.ReadFile("../buildkit/daemon/ladle/identity.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `[]string{"`+lazyIdentity+`", diffID, blob.String(), toc.String()}, " "`) {
		t.Error("ladle-buildkitd makes identities in another way")
	}
}
