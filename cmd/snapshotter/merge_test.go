package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/merge"
)

// TestMergeOfALazyLayer puts a lazy layer, and what was made over it, over
// something else: nothing is read for that, and what is then read is right.
func TestMergeOfALazyLayer(t *testing.T) {
	i := newImage(t)
	d := startDaemon(t, daemonOptions{config: onlyDemand})
	client := connect(t, d.address)
	i.pull(t, client)
	commitFile(t, client, "base", "", "base")
	commitFile(t, client, "over", "layer", "over")
	sent := i.Sent()
	began := time.Now()
	if err := commitMerge(t, client, "merged", "base", merge.Keys{Upper: "layer"}, merge.Keys{Lower: "layer", Upper: "over"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("merged in %v", time.Since(began))
	mounts, err := client.Prepare(t.Context(), "container", "merged")
	if err != nil {
		t.Fatal(err)
	}
	if n := i.Sent() - sent; n != 0 {
		t.Errorf("%d bytes were fetched", n)
	}
	check := func(dir string) error {
		for name, want := range map[string][]byte{"small": i.small, "large": i.large, "base": []byte("base"), "over": []byte("over")} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s: %d bytes, %v", name, len(b), err)
			}
		}
		return nil
	}
	if err := mount.WithTempMount(t.Context(), mounts, check); err != nil {
		t.Fatal(err)
	}
	// The inputs are removed; the merge keeps what it needs.
	for _, key := range []string{"over", "layer"} {
		if err := client.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.(snapshots.Cleaner).Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGKILL)
	<-d.exited
	d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: onlyDemand})
	client = connect(t, d.address)
	if mounts, err = client.Mounts(t.Context(), "container"); err != nil {
		t.Fatal(err)
	}
	if err := mount.WithTempMount(t.Context(), mounts, check); err != nil {
		t.Fatal(err)
	}
	d.stop(t.Context())
}

// TestKilledWhileMerging kills the daemon at any time. What it had answered is
// there, and nothing else.
func TestKilledWhileMerging(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	d := startDaemon(t, daemonOptions{})
	root := d.root
	committed := map[string]bool{}
	for round := range 8 {
		client := connect(t, d.address)
		if round == 0 {
			commitFile(t, client, "a", "", "a")
			commitFile(t, client, "b", "a", "b")
			commitFile(t, client, "c", "", "c")
		}
		kill := time.AfterFunc(time.Duration(r.IntN(60))*time.Millisecond, func() { _ = d.cmd.Process.Kill() })
		for n := 0; ; n++ {
			name := fmt.Sprintf("merge-%d-%d", round, n)
			if err := commitMerge(t, client, name, "", merge.Keys{Lower: "c", Upper: "b"}, merge.Keys{Lower: "a", Upper: "b"}, merge.Keys{Upper: "c"}); err != nil {
				if errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			committed[name] = true
		}
		kill.Stop()
		<-d.exited
		d = startDaemon(t, daemonOptions{root: root, address: d.address})
		checkMerges(t, d, committed)
	}
	client := connect(t, d.address)
	for name := range committed {
		if err := client.Remove(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"b", "a", "c"} {
		if err := client.Remove(t.Context(), key); err != nil && !errdefs.IsFailedPrecondition(err) {
			t.Error(err)
		}
	}
	d.stop(t.Context())
}

// checkMerges checks that all merges that were answered show what they should.
func checkMerges(t *testing.T, d *process, committed map[string]bool) {
	t.Helper()
	client := connect(t, d.address)
	for name := range committed {
		mounts, err := client.View(t.Context(), "view-"+name, name)
		if errdefs.IsAlreadyExists(err) {
			mounts, err = client.Mounts(t.Context(), "view-"+name)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = mount.WithTempMount(t.Context(), mounts, func(dir string) error {
			var errs []error
			for _, file := range []string{"a", "b", "c"} {
				_, err := os.Stat(filepath.Join(dir, file))
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := client.Remove(t.Context(), "view-"+name); err != nil {
			t.Error(err)
		}
	}
}

func commitFile(t *testing.T, client snapshots.Snapshotter, name, parent, file string) {
	t.Helper()
	mounts, err := client.Prepare(t.Context(), name+"-active", parent)
	if err != nil {
		t.Fatal(err)
	}
	err = mount.WithTempMount(t.Context(), mounts, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, file), []byte(file), 0o644)
	})
	if err == nil {
		err = client.Commit(t.Context(), name, name+"-active")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func commitMerge(t *testing.T, client snapshots.Snapshotter, name, parent string, pairs ...merge.Keys) error {
	_, err := client.Prepare(t.Context(), name+"-active", parent, snapshots.WithLabels(merge.Labels(pairs)))
	if err != nil {
		return err
	}
	return client.Commit(t.Context(), name, name+"-active")
}
