package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/pelletier/go-toml/v2"

	"github.com/ladle-dev/ladle/config"
)

const unitPath = "../../script/ladle.service"

// isolating are the directives that give a service a mount namespace of its
// own (systemd.exec(5); exec_needs_mount_namespace in systemd's source), or a
// network, user, or device restriction under which it cannot do its work. With
// any of the former containerd would not see what ladle mounts.
var isolating = []string{
	"BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths", "ExtensionDirectories", "ExtensionImages",
	"IPCNamespacePath", "InaccessiblePaths", "LogNamespace", "MountAPIVFS", "MountFlags",
	"MountImages", "NetworkNamespacePath", "NoExecPaths", "PrivateDevices", "PrivateIPC", "PrivateMounts",
	"PrivateNetwork", "PrivateTmp", "PrivateUsers", "ProcSubset", "ProtectClock", "ProtectControlGroups",
	"ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
	"ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths", "RootDirectory", "RootImage",
	"TemporaryFileSystem", "User",
}

func readUnit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(unitPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// directives returns the values of each directive of the unit.
func directives(unit string) map[string][]string {
	all := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(unit, -1) {
		all[m[1]] = append(all[m[1]], m[2])
	}
	return all
}

func TestUnitLeavesMountsToTheHost(t *testing.T) {
	for name := range directives(readUnit(t)) {
		if slices.Contains(isolating, name) {
			t.Errorf("%s hides mounts from containerd", name)
		}
	}
}

func TestUnitSaysWhatCountsOn(t *testing.T) {
	unit := directives(readUnit(t))
	for name, want := range map[string]string{
		"Type":                   "notify",
		"Before":                 "containerd.service",
		"Restart":                "always",
		"KillMode":               "mixed",
		"KillSignal":             "SIGINT",  // a clean stop
		"RestartKillSignal":      "SIGTERM", // a handover
		"Delegate":               "no",
		"FileDescriptorStoreMax": "64",
		"ExecStart":              "/usr/local/bin/ladle serve --config " + config.DefaultPath,
	} {
		if !slices.Equal(unit[name], []string{want}) {
			t.Errorf("%s is %q, want %q", name, unit[name], want)
		}
	}
	if wanted := strings.Fields(strings.Join(unit["WantedBy"], " ")); !slices.Contains(wanted, "containerd.service") {
		t.Errorf("wanted by %v", wanted)
	}
	d := config.Default()
	if "/var/lib/"+unit["StateDirectory"][0] != d.Root || "/run/"+unit["RuntimeDirectory"][0] != filepath.Dir(d.Address) {
		t.Errorf("directories are not those of the configuration: %v, %v", unit["StateDirectory"], unit["RuntimeDirectory"])
	}
}

func TestUnitIsVerifiedBySystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd is not installed")
	}
	unit := strings.ReplaceAll(readUnit(t), "/usr/local/bin/ladle", testProgram(t))
	path := filepath.Join(t.TempDir(), "ladle.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestUnitLeavesEnoughPrivileges runs a daemon with the capabilities that the
// unit leaves it. It must choose the driver that it chooses with all of them,
// and do a snapshotter's work, also for containers in user namespaces.
func TestUnitLeavesEnoughPrivileges(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed")
	}
	free := startDaemon(t, daemonOptions{})
	free.stop(t.Context())

	caps := strings.Fields(directives(readUnit(t))["CapabilityBoundingSet"][0])
	set := "-all"
	for _, c := range caps {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	d := startDaemon(t, daemonOptions{wrapper: []string{setpriv, "--no-new-privs", "--bounding-set", set}})
	if got, want := d.driver(), free.driver(); got == "" || got != want {
		t.Errorf("driver %q, with all capabilities %q", got, want)
	}
	client := connect(t, d.address)
	if _, err := client.Prepare(t.Context(), "active", ""); err != nil {
		t.Fatal(err)
	}
	if err := client.Commit(t.Context(), "committed", "active"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.View(t.Context(), "view", "committed"); err != nil {
		t.Fatal(err)
	}
	mapping := snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:100000:65536", snapshots.LabelSnapshotGIDMapping: "0:200000:65536",
	})
	if _, err := client.Prepare(t.Context(), "mapped", "committed", mapping); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"view", "mapped", "committed"} {
		if err := client.Remove(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if err := client.(snapshots.Cleaner).Cleanup(t.Context()); err != nil {
		t.Error(err)
	}
	d.stop(t.Context())
}

// driver returns which driver the daemon has said that it uses.
func (d *process) driver() string {
	m := regexp.MustCompile(`filesystem driver chosen.* driver=(\w+)`).FindStringSubmatch(d.output.String())
	if m == nil {
		return ""
	}
	return m[1]
}

// TestDropInNamesTheDefaults compares the drop-in for containerd with the
// configuration.
func TestDropInNamesTheDefaults(t *testing.T) {
	text, err := os.ReadFile("../../script/containerd-ladle.toml")
	if err != nil {
		t.Fatal(err)
	}
	var dropIn struct {
		Version int
		Proxy   map[string]struct {
			Type, Address string
			Capabilities  []string
			Exports       map[string]string
		} `toml:"proxy_plugins"`
		Plugins map[string]struct {
			Snapshotter string
			Unannotated *bool                          `toml:"disable_snapshot_annotations"` // nil: the transfer service pulls
			Unpack      []struct{ Snapshotter string } `toml:"unpack_config"`
		}
	}
	if err := toml.Unmarshal(text, &dropIn); err != nil {
		t.Fatal(err)
	}
	d, plugin := config.Default(), dropIn.Proxy["ladle"]
	if dropIn.Version != 3 || plugin.Type != "snapshot" || plugin.Address != d.Address || plugin.Exports["root"] != d.Root ||
		plugin.Exports["enable_remote_snapshot_annotations"] != "true" || !slices.Equal(plugin.Capabilities, []string{"remap-ids"}) {
		t.Errorf("the plugin is %+v", plugin)
	}
	if images := dropIn.Plugins["io.containerd.cri.v1.images"]; images.Snapshotter != "ladle" || images.Unannotated != nil {
		t.Errorf("CRI's images are %+v", images)
	}
	var unpacked []string
	for _, u := range dropIn.Plugins["io.containerd.transfer.v1.local"].Unpack {
		unpacked = append(unpacked, u.Snapshotter)
	}
	if !slices.Equal(unpacked, []string{"overlayfs", "ladle"}) {
		t.Errorf("unpacked for %v", unpacked)
	}
}

// TestUnitGivesUp: systemd gives a program up that cannot start, or readers would
// wait for ever: takeoverTimeout of package takeover begins when a process starts. It
// does not give up one that takes its time.
func TestUnitGivesUp(t *testing.T) {
	unit := directives(readUnit(t))
	number := func(name string) int {
		n, err := strconv.Atoi(strings.Join(unit[name], " "))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return n
	}
	interval, burst, pause := number("StartLimitIntervalSec"), number("StartLimitBurst"), number("RestartSec")
	if fast := burst * pause; fast >= interval || fast > 180 {
		t.Errorf("what fails at once is given up after %d s, of %d", fast, interval)
	}
	if slow := burst * (pause + 2); slow <= interval {
		t.Errorf("what fails after 2 s is given up after %d s", slow)
	}
	if _, ok := unit["FileDescriptorStorePreserve"]; ok {
		t.Error("descriptors are kept of a service that is stopped")
	}
}
