package kubelet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// client speaks to kubelets of this machine, which sign their certificates themselves.
var client = http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
}}

// PodStatus is what kubelet says of a pod.
type PodStatus struct {
	Name       string
	Phase      string
	Containers []ContainerStatus
}

// ContainerStatus is what kubelet says of a container of a pod.
type ContainerStatus struct {
	Name         string `json:"name"`
	ContainerID  string `json:"containerID"`
	RestartCount int    `json:"restartCount"`
	State        struct {
		Running *struct{} `json:"running"`
		Waiting *struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"waiting"`
	} `json:"state"`
}

// Running reports whether all containers of a pod run.
func (s PodStatus) Running() bool {
	for _, c := range s.Containers {
		if c.State.Running == nil {
			return false
		}
	}
	return s.Phase == "Running" && len(s.Containers) > 0
}

// Pods lists the pods that kubelet is to run, by name.
func (k *Kubelet) Pods(ctx context.Context) (map[string]PodStatus, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Status struct {
				Phase             string            `json:"phase"`
				ContainerStatuses []ContainerStatus `json:"containerStatuses"`
			} `json:"status"`
		} `json:"items"`
	}
	if err := k.get(ctx, "/pods", &list); err != nil {
		return nil, err
	}
	all := map[string]PodStatus{}
	for _, p := range list.Items {
		all[p.Metadata.Name] = PodStatus{p.Metadata.Name, p.Status.Phase, p.Status.ContainerStatuses}
	}
	return all, nil
}

// Filesystem is what kubelet's summary says of a filesystem. All are bytes, or inodes.
type Filesystem struct {
	Capacity   uint64 `json:"capacityBytes"`
	Available  uint64 `json:"availableBytes"`
	Used       uint64 `json:"usedBytes"`
	Inodes     uint64 `json:"inodes"`
	InodesUsed uint64 `json:"inodesUsed"`
}

// ImageFilesystem is the filesystem of images in kubelet's summary, from which it evicts
// pods and removes images.
func (k *Kubelet) ImageFilesystem(ctx context.Context) (Filesystem, error) {
	var summary struct {
		Node struct {
			Runtime struct {
				ImageFs Filesystem `json:"imageFs"`
			} `json:"runtime"`
		} `json:"node"`
	}
	err := k.get(ctx, "/stats/summary", &summary)
	return summary.Node.Runtime.ImageFs, err
}

// Exec runs a command, whose words have no spaces, in a container, and returns what it
// printed.
func (k *Kubelet) Exec(ctx context.Context, pod, container string, command ...string) (string, error) {
	query := url.Values{"cmd": {strings.Join(command, " ")}}
	return k.do(ctx, http.MethodPost, fmt.Sprintf("/run/%s/%s/%s?%s", namespace, pod, container, query.Encode()))
}

// Logs are what a container has printed.
func (k *Kubelet) Logs(ctx context.Context, pod, container string) (string, error) {
	return k.do(ctx, http.MethodGet, fmt.Sprintf("/containerLogs/%s/%s/%s", namespace, pod, container))
}

func (k *Kubelet) get(ctx context.Context, path string, into any) error {
	body, err := k.do(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		return fmt.Errorf("kubelet: %s: %w", path, err)
	}
	return nil
}

func (k *Kubelet) do(ctx context.Context, method, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+k.address()+path, nil)
	if err != nil {
		return "", fmt.Errorf("kubelet: %w", err)
	}
	reply, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("kubelet: %w", err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return "", fmt.Errorf("kubelet: %s: %w", path, err)
	}
	if reply.StatusCode != http.StatusOK {
		return "", fmt.Errorf("kubelet: %s: %s: %s", path, reply.Status, body)
	}
	return string(body), nil
}
