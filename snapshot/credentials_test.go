package snapshot

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// offers returns the offers among the calls since the last time.
func (d *disk) offers() []string {
	return slices.DeleteFunc(d.takeCalls(), func(call string) bool { return !strings.HasPrefix(call, "offer ") })
}

// An offer of credentials is passed on with the Prepare that makes it, and
// again by the next process for as long as the snapshot is there. It is none
// of what clients can change, or make without asking for a layer.
func TestOffersOfCredentials(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	const socket = "/run/lender/credentials.ladle"
	labels := func(target string) map[string]string {
		id := d.addLayer(t, target, map[string]string{"file": target})
		l := buildkitLabels(target, id.Blob, id.TOC)
		l[credentialsLabel] = socket
		return l
	}
	want := func(offers ...string) {
		t.Helper()
		if got := d.offers(); !slices.Equal(got, offers) {
			t.Errorf("offers %q, want %q", got, offers)
		}
	}
	offer := "offer registry.test/image@sha256:0 " + socket
	_, err := s.Prepare(t.Context(), "extract", "", snapshots.WithLabels(labels("one")))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	want(offer)
	other := map[string]string{credentialsLabel: "/run/other/credentials.ladle"}
	_, err = s.Update(t.Context(), snapshots.Info{Name: "one", Labels: other}, "labels."+credentialsLabel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prepare(t.Context(), "active", "one", snapshots.WithLabels(other)); err != nil {
		t.Fatal(err)
	}
	want()
	s = reopen(t, d, s)
	want(offer)
	for _, key := range []string{"active", "one"} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	reopen(t, d, s)
	want()
}

// A layer of which the client does not say enough is not offered for.
func TestOfferForNoLayer(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	labels := map[string]string{snapshots.LabelSnapshotRef: "target", credentialsLabel: "/run/lender/credentials.ladle"}
	if _, err := s.Prepare(t.Context(), "extract", "", snapshots.WithLabels(labels)); err != nil {
		t.Fatal(err)
	}
	if got := d.offers(); len(got) > 0 {
		t.Errorf("offers %q", got)
	}
	if info, err := s.Stat(t.Context(), "extract"); err != nil || info.Labels[credentialsLabel] != "" {
		t.Errorf("labels %v, %v", info.Labels, err)
	}
}
