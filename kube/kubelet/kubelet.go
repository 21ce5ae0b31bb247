package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// readyTimeout is for kubelet to serve its API: it asks the container runtime first.
const readyTimeout = 2 * time.Minute

// nodeName is what kubelet appends to the names of static pods.
const nodeName = "node"

// Kubelet is a kubelet without a cluster.
type Kubelet struct {
	process.Process
	Flags []string // more of its command line

	dir  string // of its state
	port int
}

// New returns a kubelet with its state in dir, which is not started.
func New(dir string) (*Kubelet, error) {
	port, err := freePort()
	return &Kubelet{dir: dir, port: port}, err
}

// freePort is a port of the loopback interface that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("kubelet: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Settings are keys of KubeletConfiguration, kubelet.config.k8s.io/v1beta1.
type Settings map[string]any

// Start starts kubelet, again after Stop or Kill, on the container runtime that listens on
// the socket, and waits until it serves its API.
func (k *Kubelet) Start(ctx context.Context, socket string, more Settings) error {
	program, err := place.Component("kubelet")
	if err != nil {
		return err
	}
	settings := k.settings(socket)
	for key, value := range more {
		settings[key] = value
	}
	config, err := json.MarshalIndent(settings, "", "  ") // JSON is YAML
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	if err := os.MkdirAll(k.manifests(), 0o755); err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	file := filepath.Join(k.dir, "config.yaml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	argv := append([]string{
		program, "--config", file, "--root-dir", filepath.Join(k.dir, "root"), "--cert-dir", filepath.Join(k.dir, "pki"),
		"--hostname-override", nodeName, "--v", "2",
	}, k.Flags...)
	err = k.Process.Start(process.Options{Name: "kubelet", Log: filepath.Join(k.dir, "kubelet.log"), Argv: argv})
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	return k.Ready(ctx, readyTimeout, func(ctx context.Context) error {
		_, err := k.Pods(ctx)
		return err
	})
}

// settings are those that make kubelet run as one process of a test: without a cluster,
// without control groups of its own, and quick to see that something has changed.
func (k *Kubelet) settings(socket string) Settings {
	return Settings{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"staticPodPath":               k.manifests(),
		"podLogsDir":                  filepath.Join(k.dir, "logs"),
		"volumePluginDir":             filepath.Join(k.dir, "plugins"),
		"containerRuntimeEndpoint":    "unix://" + socket,
		"address":                     "127.0.0.1",
		"port":                        k.port,
		"healthzPort":                 0,
		"authentication":              Settings{"anonymous": Settings{"enabled": true}, "webhook": Settings{"enabled": false}},
		"authorization":               Settings{"mode": "AlwaysAllow"},
		"cgroupDriver":                "cgroupfs",
		"cgroupsPerQOS":               false,
		"enforceNodeAllocatable":      []string{},
		"failCgroupV1":                false,
		"failSwapOn":                  false,
		"makeIPTablesUtilChains":      false,
		"resolvConf":                  "",
		"evictionHard":                Settings{"imagefs.available": "1%"},
		"imageGCHighThresholdPercent": 100,
		"fileCheckFrequency":          "1s",
		"syncFrequency":               "2s",
		"runtimeRequestTimeout":       "5m",
	}
}

func (k *Kubelet) manifests() string { return filepath.Join(k.dir, "manifests") }

// Apply has kubelet run a pod, under the name that it returns.
func (k *Kubelet) Apply(p Pod) (name string, err error) {
	text, err := p.manifest()
	if err != nil {
		return "", err
	}
	file := filepath.Join(k.manifests(), p.Name+".json")
	// Written beside and renamed: kubelet reads it when it likes.
	if err := os.WriteFile(filepath.Join(k.dir, "manifest"), text, 0o644); err != nil {
		return "", fmt.Errorf("kubelet: %w", err)
	}
	if err := os.Rename(filepath.Join(k.dir, "manifest"), file); err != nil {
		return "", fmt.Errorf("kubelet: %w", err)
	}
	return p.Name + "-" + nodeName, nil
}

// Delete has kubelet end a pod.
func (k *Kubelet) Delete(p Pod) error {
	if err := os.Remove(filepath.Join(k.manifests(), p.Name+".json")); err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	return nil
}

func (k *Kubelet) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(k.port)) }
