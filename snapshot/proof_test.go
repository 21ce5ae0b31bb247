package snapshot

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// TestProof has the names that clients give to layers, over no parent, one that they
// unpacked, and a remote one.
func TestProof(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	low, diffID := digest.FromString("low"), digest.FromString("layer")
	chain := identity.ChainID([]digest.Digest{low, diffID})
	buildkit := func(d digest.Digest) string { return buildkitPrefix + strings.Replace(d.String(), ":", "-", 1) }
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
		{"work", "", false},
		{"sha256:1234", "", false},
		{chain.String(), "ns/7/" + low.String(), true},
		{chain.String(), low.String() + "@3", true},
		{buildkit(chain), "ns/8/" + buildkit(low), true},
		{chain.String(), "ns/8/" + buildkit(low), false},
		{chain.String(), "ns/9/work", false},
	} {
		proves, err := s.proof(t.Context(), test.target, test.parent)
		if err != nil || (proves != nil) != test.proved {
			t.Errorf("%s over %s: %v, %v", test.target, test.parent, proves != nil, err)
		}
		if proves != nil && (!proves(diffID) || proves(low)) {
			t.Errorf("%s over %s: proves %v and another %v", test.target, test.parent, proves(diffID), proves(low))
		}
	}
	if _, err := s.proof(t.Context(), chain.String(), "ns/10/gone"); err == nil {
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
