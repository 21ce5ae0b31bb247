package snapshot

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
)

func TestMergeErrors(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "a", "", map[string]string{"a": "a"})
	if _, err := s.Prepare(t.Context(), "active", "a"); err != nil {
		t.Fatal(err)
	}
	redirected := commitDir(t, s, "redirected")
	if err := unix.Lsetxattr(redirected, "trusted.overlay.redirect", []byte("/x"), 0); err != nil {
		t.Fatal(err)
	}
	label := func(key, value string) snapshots.Opt {
		return snapshots.WithLabels(map[string]string{merge.LabelPrefix + key: value})
	}
	for name, test := range map[string]struct {
		opt snapshots.Opt
		is  func(error) bool
	}{
		"unknown upper":  {asMerge(" none"), errdefs.IsNotFound},
		"unknown lower":  {asMerge("none a"), errdefs.IsNotFound},
		"active":         {asMerge(" active"), errdefs.IsFailedPrecondition},
		"redirect":       {asMerge(" redirected"), errdefs.IsNotImplemented},
		"number missing": {label("1.upper", "a"), errdefs.IsInvalidArgument},
		"no number":      {label("x.upper", "a"), errdefs.IsInvalidArgument},
		"odd number":     {label("00.upper", "a"), errdefs.IsInvalidArgument},
		"negative":       {label("-1.upper", "a"), errdefs.IsInvalidArgument},
		"no side":        {label("0.middle", "a"), errdefs.IsInvalidArgument},
	} {
		if _, err := s.Prepare(t.Context(), "merge", "a", test.opt); err == nil || !test.is(err) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Stat(t.Context(), "merge"); !errdefs.IsNotFound(err) {
			t.Errorf("%s leaves a snapshot: %v", name, err)
		}
	}
	if _, err := s.Prepare(t.Context(), "merge", "none", asMerge(" a")); !errdefs.IsNotFound(err) {
		t.Errorf("no parent: %v", err)
	}
}

// commitDir makes a snapshot with a directory and returns that.
func commitDir(t *testing.T, s *Snapshotter, name string) string {
	t.Helper()
	if _, err := s.Prepare(t.Context(), name+"-active", ""); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.upper(idOfKey(t, s, name+"-active")), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), name, name+"-active"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// No client can name a snapshot of another namespace, nor set what we keep.
func TestMergeKeepsNamespacesApart(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	client, end, err := underMetadata(s, tempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	theirs, ours := namespaces.WithNamespace(t.Context(), "theirs"), namespaces.WithNamespace(t.Context(), "ours")
	id := d.addLayer(t, "layer", map[string]string{"f": "lazy"})
	_, err = client.Prepare(theirs, "extract", "", snapshots.WithLabels(lazyLabels("target", id)))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, ctx := range []context.Context{theirs, ours} {
		if _, err := client.Prepare(ctx, "a-active", ""); err != nil {
			t.Fatal(err)
		}
		if err := client.Commit(ctx, "a", "a-active"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Prepare(theirs, "secret-active", ""); err != nil {
		t.Fatal(err)
	}
	if err := client.Commit(theirs, "secret", "secret-active"); err != nil {
		t.Fatal(err)
	}
	var secret string
	infos, err := s.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if strings.HasSuffix(info.Name, "/secret") {
			secret = info.Name
		}
	}
	for _, key := range []string{"secret", secret, "theirs/1/secret", "target", "../a"} {
		if _, err := client.Prepare(ours, "merge", "", asMerge(" "+key)); !errdefs.IsNotFound(err) {
			t.Errorf("%q of another namespace: %v", key, err)
		}
	}
	for _, key := range []string{"secret", "target"} {
		if _, err := client.Prepare(theirs, "merge-"+key, "", asMerge(" "+key)); err != nil {
			t.Errorf("%q of the same namespace: %v", key, err)
		}
	}
	// Who pulls it, too, can name it.
	_, err = client.Prepare(ours, "extract", "", snapshots.WithLabels(lazyLabels("target", id)))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := client.Prepare(ours, "merge", "", asMerge(" target")); err != nil {
		t.Error(err)
	}
	info, err := client.Stat(ours, "target")
	if err != nil {
		t.Fatal(err)
	}
	for key := range info.Labels {
		if strings.Contains(key, "theirs") {
			t.Errorf("label %s names another namespace", key)
		}
	}
	// A layer whose name looks like that of our snapshot is not that.
	id = d.addLayer(t, "poison", map[string]string{"f": "poison"})
	_, err = client.Prepare(theirs, "extract", "", snapshots.WithLabels(lazyLabels("ours/999999/a", id)))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	mounts, err := client.Prepare(ours, "not-poisoned", "", asMerge(" a", " target"))
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, "merge of a", mounts, map[string]string{"f": "lazy"})
	forged := snapshots.WithLabels(map[string]string{stackLabel: `{"Lowers":[{"ID":"1"}]}`})
	if _, err := client.Prepare(ours, "forged", "", forged); err != nil {
		t.Fatal(err)
	}
	mounts, err = client.Mounts(ours, "forged")
	if err != nil || mounts[0].Type != "bind" {
		t.Errorf("%v, %v", mounts, err)
	}
}

// An image's annotations are labels of the Prepare of its layers. They cannot
// ask for the content of what else is there.
func TestMergeIsNotAskedForByImages(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "secret", "", map[string]string{"s": "secret"})
	for name, value := range map[string]string{"0.upper": "secret", "x": "y"} {
		labels := lazyLabels("target-"+name, idOf("not there"))
		labels[merge.LabelPrefix+name] = value
		wantFiles(t, "layer", mustPrepare(t, s, "extract-"+name, "", snapshots.WithLabels(labels)), map[string]string{})
	}
}

// Updates of a merge leave it one.
func TestUpdateOfMerges(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "a", "", map[string]string{"a": "a"})
	commitMerge(t, s, "merged", "", " a")
	info := snapshots.Info{Name: "merged", Labels: map[string]string{"x": "y", stackLabel: "", merge.AnswerLabel: ""}}
	for _, fields := range [][]string{nil, {"labels." + stackLabel}, {"labels"}} {
		updated, err := s.Update(t.Context(), info, fields...)
		if err != nil || updated.Labels[merge.AnswerLabel] == "" || updated.Labels[stackLabel] != "" {
			t.Errorf("%v: %+v, %v", fields, updated, err)
		}
	}
	wantFiles(t, "merge", viewOf(t, s, "merged"), map[string]string{"a": "a"})
}
