package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/internal/porttest"
)

// TestServeAndStop is one life of a daemon, as systemd and containerd see it.
func TestServeAndStop(t *testing.T) {
	d := startDaemon(t, daemonOptions{})
	client := connect(t, d.address)
	if _, err := client.Stat(t.Context(), "none"); !errdefs.IsNotFound(err) {
		t.Errorf("Stat: %v", err)
	}
	mounts, err := client.Prepare(t.Context(), "active", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(mounts) != 1 || !strings.HasPrefix(mounts[0].Source, d.root) {
		t.Errorf("mounts are %v", mounts)
	}
	d.stop(t.Context())
	if !d.notes.has("STOPPING=1") {
		t.Error("systemd was not told of the stop")
	}
	if _, err := os.Stat(d.address); err == nil {
		t.Error("the socket is still there")
	}

	d = startDaemon(t, daemonOptions{root: d.root, address: d.address})
	if _, err := connect(t, d.address).Stat(t.Context(), "active"); err != nil {
		t.Errorf("Stat after a restart: %v", err)
	}
	d.stop(t.Context())
}

func TestKilledDaemonStartsAgain(t *testing.T) {
	d := startDaemon(t, daemonOptions{})
	if _, err := connect(t, d.address).Prepare(t.Context(), "active", ""); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGKILL)
	<-d.exited
	d = startDaemon(t, daemonOptions{root: d.root, address: d.address})
	if _, err := connect(t, d.address).Stat(t.Context(), "active"); err != nil {
		t.Errorf("Stat: %v", err)
	}
	d.stop(t.Context())
}

func TestOneDaemonForARoot(t *testing.T) {
	first := startDaemon(t, daemonOptions{})
	second := launch(t, daemonOptions{root: first.root})
	<-second.exited
	if second.err == nil || second.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the second daemon ended with %v", second.err)
	}
	third := launch(t, daemonOptions{address: first.address})
	<-third.exited
	if !strings.Contains(third.output.String(), "another process listens") {
		t.Errorf("the third daemon said\n%s", third.output)
	}
	if _, err := connect(t, first.address).Stat(t.Context(), "none"); !errdefs.IsNotFound(err) {
		t.Errorf("the first daemon is disturbed: %v", err)
	}
	first.stop(t.Context())
}

// TestEndpointsAreApart has two endpoints: neither sees the other's snapshots.
func TestEndpointsAreApart(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.sock")
	d := startDaemon(t, daemonOptions{config: "[[endpoint]]\nname = \"other\"\naddress = \"" + other + "\"\n"})
	if _, err := connect(t, d.address).Prepare(t.Context(), "key", ""); err != nil {
		t.Fatal(err)
	}
	client := connect(t, other)
	if _, err := client.Stat(t.Context(), "key"); !errdefs.IsNotFound(err) {
		t.Errorf("Stat at the other endpoint: %v", err)
	}
	if _, err := client.Prepare(t.Context(), "key", ""); err != nil {
		t.Errorf("Prepare at the other endpoint: %v", err)
	}
	if err := client.(snapshots.Cleaner).Cleanup(t.Context()); err != nil {
		t.Errorf("Cleanup at the other endpoint: %v", err)
	}
	d.stop(t.Context())
}

func TestSocketActivation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "activated.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, daemonOptions{address: path, listener: file})
	if _, err := connect(t, path).Stat(t.Context(), "none"); !errdefs.IsNotFound(err) {
		t.Errorf("Stat: %v", err)
	}
	d.stop(t.Context())
	if _, err := os.Stat(path); err != nil {
		t.Errorf("systemd's socket is gone: %v", err)
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	debug := filepath.Join(t.TempDir(), "debug.sock")
	address := freeAddress(t)
	d := startDaemon(t, daemonOptions{config: "metrics_address = \"" + address + "\"\ndebug_address = \"" + debug + "\"\n"})
	page := fetchPage(t, http.DefaultClient, "http://"+address+"/metrics")
	for _, want := range []string{"ladle_store_bytes ", "ladle_tree_mounts{", "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", debug)
		},
	}}
	defer client.CloseIdleConnections()
	if page := fetchPage(t, client, "http://ladle/debug/pprof/goroutine?debug=1"); !strings.Contains(page, "goroutine profile") {
		t.Errorf("the profile is\n%s", page)
	}
	d.stop(t.Context())
}

func TestWatchdogIsFed(t *testing.T) {
	d := startDaemon(t, daemonOptions{env: []string{"WATCHDOG_USEC=100000"}})
	d.waitNote("WATCHDOG=1")
	d.stop(t.Context())
}

// freeAddress returns a TCP address on which no process listens, and which the kernel gives
// to no other socket.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, port, err := porttest.Keep()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return address
}

func fetchPage(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, resp.Status)
	}
	return string(body)
}
