package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// newPlainImage makes an image of one layer that has no index, of random bytes.
func newPlainImage(t *testing.T, size int) *image {
	t.Helper()
	i := &image{Registry: registrytest.New(t, registrytest.Options{}), large: noise(size)}
	var tarball, blob bytes.Buffer
	w := tar.NewWriter(&tarball)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "large", Size: int64(size), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	w.Write(i.large)
	w.Close()
	z, err := gzip.NewWriterLevel(&blob, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(tarball.Bytes())
	z.Close()
	d := i.AddBlob(blob.Bytes()).String()
	i.labels = map[string]string{
		snapshots.LabelSnapshotRef:                digest.FromBytes(tarball.Bytes()).String(), // the chain ID
		"containerd.io/snapshot/cri.image-ref":    i.Ref("app:1"),
		"containerd.io/snapshot/cri.layer-digest": d,
		"containerd.io/snapshot/cri.image-layers": d,
	}
	return i
}

// statusOf asks the daemon by the socket of its control service.
func statusOf(t *testing.T, socket string) control.Status {
	t.Helper()
	out, err := ladle("status", "--json", "--control", socket).Output()
	if err != nil {
		t.Fatalf("ladle status: %v: %s", err, stderrOf(err))
	}
	var st control.Status
	if err := json.Unmarshal(out, &st); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return st
}

func stderrOf(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return string(exit.Stderr)
	}
	return ""
}

// TestStatus asks while a layer is imported, after that, and after an import that failed.
func TestStatus(t *testing.T) {
	d := startDaemon(t, daemonOptions{config: "driver = \"fuse\"\n"})
	socket := strings.TrimSuffix(d.address, ".sock") + "-control.sock"
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	client := connect(t, d.address)
	img := newPlainImage(t, 4<<20)
	img.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Slow: 1 << 20}))
	pulled := make(chan error, 1)
	go func() {
		_, err := client.Prepare(t.Context(), "extract", "", snapshots.WithLabels(img.labels))
		pulled <- err
	}()
	waittest.For(t, "an import in progress", func() bool {
		st := statusOf(t, socket)
		if len(st.Imports) != 1 {
			return false
		}
		i := st.Imports[0]
		if i.Image != img.Ref("app:1") || i.Size < 4<<20 || i.Done > i.Size || i.Waiting != 1 {
			t.Fatalf("the import is %+v", i)
		}
		return i.Done > 0 && i.Since != nil
	})
	img.SetFault(nil)
	if err := <-pulled; !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := client.Prepare(t.Context(), "container", img.labels[snapshots.LabelSnapshotRef]); err != nil {
		t.Fatal(err)
	}
	st := statusOf(t, socket)
	if len(st.Imports) != 0 || len(st.Failures) != 0 {
		t.Errorf("imports %+v, failures %+v", st.Imports, st.Failures)
	}
	if len(st.Layers) != 1 || !st.Layers[0].Full() || st.Layers[0].Stored < 4<<20 || !st.Layers[0].Open || st.Layers[0].Images[0] != img.Ref("app:1") {
		t.Errorf("layers %+v", st.Layers)
	}
	if want := (control.Endpoint{Name: "main", Address: d.address, Committed: 1, Remote: 1, Active: 1}); len(st.Endpoints) != 1 || st.Endpoints[0] != want {
		t.Errorf("endpoints %+v, want %+v", st.Endpoints, want)
	}
	if st.Schema != 1 || st.Process.PID != d.cmd.Process.Pid || st.Driver.Name != "fuse" || st.Driver.Reason != "configured" || st.Store.Root != d.root || st.Store.Free == 0 {
		t.Errorf("status %+v", st)
	}

	bad := newPlainImage(t, 2<<20)
	bad.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	if _, err := client.Prepare(t.Context(), "other", "", snapshots.WithLabels(bad.labels)); err != nil {
		t.Fatal(err)
	}
	st = statusOf(t, socket)
	if len(st.Failures) != 1 || st.Failures[0].Image != bad.Ref("app:1") || !strings.Contains(st.Failures[0].Reason, "invalid") {
		t.Errorf("failures %+v", st.Failures)
	}
	out, err := ladle("status", "--all", "--control", socket).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"driver fuse: configured", "main ", "1 layers: 1 full, 0 partly", "100 %", "in use", "imports that failed", bad.Ref("app:1")} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// TestStatusWithoutDaemon has no socket, one on which nobody listens, and a configuration
// without the service.
func TestStatusWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: stale}); err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	off := filepath.Join(dir, "off.toml")
	if err := os.WriteFile(off, []byte("control_address = \"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no daemon is running":                                  {"--control", stale},
		"nothing listens on " + filepath.Join(dir, "none.sock"): {"--json", "--control", filepath.Join(dir, "none.sock")},
		"control_address is empty":                              {"--config", off},
	} {
		var stderr bytes.Buffer
		cmd := ladle(append([]string{"status"}, args...)...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() != failed || !strings.Contains(stderr.String(), want) || len(out) > 0 {
			t.Errorf("ladle status %q: %v, %q, %q; want %q", args, err, out, stderr.String(), want)
		}
	}
}

// TestStatusWaitsForTheSuccessor asks while there is no daemon but there will be one, and then
// a daemon without the service.
func TestStatusWaitsForTheSuccessor(t *testing.T) {
	u := newUnit(t, "")
	socket := strings.TrimSuffix(u.address, ".sock") + "-control.sock"
	u.end(syscall.SIGTERM)
	var out, stderr bytes.Buffer
	cmd := ladle("status", "--json", "--control", socket)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	u.start()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var st control.Status
	if err := json.Unmarshal(out.Bytes(), &st); err != nil || st.Driver.Reason != "that of the process before" {
		t.Errorf("%v: %+v", err, st.Driver)
	}
	u.end(syscall.SIGTERM)
	u.configure(onlyDemand + fmt.Sprintf("control_address = %q\n", ""))
	u.start()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket of a control service that is no more is still there")
	}
	u.end(syscall.SIGINT)
}
